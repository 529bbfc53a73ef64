package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// restClient speaks Kafka Connect REST to any node of a cluster.
type restClient struct {
	base string
	http *http.Client
}

// restError is an answer of 400 and above.
type restError struct {
	Status  int
	Message string
}

func (e *restError) Error() string {
	if e.Message == "" {
		return http.StatusText(e.Status)
	}
	return e.Message
}

// restFlag adds --url to a command and gives a function that makes the client.
func (a *app) restFlag(c *cobra.Command) func() (*restClient, error) {
	var address string
	c.PersistentFlags().StringVar(&address, "url", "", "REST address of any node (default $SLUICE_URL or http://localhost:8083)")
	return func() (*restClient, error) {
		at := address
		if at == "" {
			at = lookup(a.environ, "SLUICE_URL")
		}
		if at == "" {
			at = "http://localhost:8083"
		}
		if !strings.Contains(at, "://") {
			at = "http://" + at
		}
		u, err := url.Parse(at)
		if err != nil || u.Host == "" {
			return nil, usagef("--url is %q: give http://host:port", address)
		}
		return &restClient{base: strings.TrimSuffix(at, "/"), http: &http.Client{Timeout: 100 * time.Second}}, nil
	}
}

func lookup(environ []string, key string) string {
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == key {
			return v
		}
	}
	return ""
}

// do makes a request; body is marshalled unless it is a json.RawMessage; into may be nil. It gives the status.
func (r *restClient) do(ctx context.Context, method, path string, body, into any) (int, error) {
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		rd = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, rd)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("no node answers at %s: %w (is it running? --url names another)", r.base, unwrapURL(err))
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, fmt.Errorf("read the answer of %s: %w", r.base, err)
	}
	if resp.StatusCode >= 400 {
		e := &restError{Status: resp.StatusCode}
		var shape struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(text, &shape) == nil {
			e.Message = shape.Message
		} else {
			e.Message = strings.TrimSpace(string(text))
		}
		return resp.StatusCode, e
	}
	if into != nil && len(text) > 0 {
		if err := json.Unmarshal(text, into); err != nil {
			return resp.StatusCode, fmt.Errorf("%s%s answered something that is no JSON: %w (is that a Sluice or Kafka Connect address?)", r.base, path, err)
		}
	}
	return resp.StatusCode, nil
}

func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// connectorPath is /connectors/{name} and what follows.
func connectorPath(name, tail string) string { return "/connectors/" + url.PathEscape(name) + tail }

// readConfig reads a connector's configuration: a JSON file (flat map, or name and config as POST takes them), a
// properties file, "-" for the input, and key=value arguments over it.
func (a *app) readConfig(file string, sets []string) (map[string]string, error) {
	config := map[string]string{}
	if file != "" {
		var text []byte
		var err error
		if file == "-" {
			text, err = io.ReadAll(a.In)
		} else {
			text, err = os.ReadFile(file)
		}
		if err != nil {
			return nil, fmt.Errorf("read the connector's configuration: %w", err)
		}
		if err := parseConfig(text, config); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	for _, s := range sets {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, usagef("%q is no key=value", s)
		}
		config[k] = v
	}
	return config, nil
}

func parseConfig(text []byte, into map[string]string) error {
	trimmed := bytes.TrimSpace(text)
	if len(trimmed) > 0 && trimmed[0] == '{' {
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(trimmed, &doc); err != nil {
			return fmt.Errorf("not JSON: %w", err)
		}
		if inner, ok := doc["config"]; ok && len(inner) > 0 && inner[0] == '{' {
			name := doc["name"]
			doc = nil
			if err := json.Unmarshal(inner, &doc); err != nil {
				return fmt.Errorf("not JSON: %w", err)
			}
			if name != nil && doc["name"] == nil {
				doc["name"] = name
			}
		}
		for k, raw := range doc {
			var s string
			if json.Unmarshal(raw, &s) != nil {
				if len(raw) > 0 && (raw[0] == '{' || raw[0] == '[') {
					return fmt.Errorf("%s: a value is a text or number, not %s", k, raw)
				}
				s = string(raw)
			}
			into[k] = s
		}
		return nil
	}
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok {
			return fmt.Errorf("line %d is neither key=value nor the beginning of JSON", n+1)
		}
		into[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	return nil
}
