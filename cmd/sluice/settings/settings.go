package settings

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sluice.io/sluice/coordinator/peer"
)

// Settings of one node, checked.
type Settings struct {
	NodeID  string
	DataDir string
	// Kafka holds the client properties without the prefix "kafka.".
	Kafka          map[string]string
	LakeURL        string
	RESTListen     string
	RESTAdvertised string
	PeerListen     string
	PeerAdvertised string
	ClusterJoin    []string
	// PeerTLS names the files of mutual TLS between nodes: all of them, or none.
	PeerTLS peer.TLSFiles
	// MemoryLimit in bytes.
	MemoryLimit     int64
	ShutdownTimeout time.Duration
	LogLevel        slog.Level
	LogFormat       string
	// Converters holds the worker's defaults: key.converter, value.converter and their options.
	Converters map[string]string
	// Warnings are for the log, once it is there.
	Warnings []string
}

// Load reads all sources. The error tells every problem, one a line.
func Load(src Sources) (*Settings, error) {
	values, warnings, err := src.merge()
	problems := []error{err}
	s := &Settings{Kafka: map[string]string{}, Converters: map[string]string{}, Warnings: warnings}
	for name, v := range values {
		d, _ := find(name)
		if err := s.set(d, v); err != nil {
			problems = append(problems, err)
		}
	}
	if err := errors.Join(sorted(flatten(problems))...); err != nil {
		return nil, err
	}
	return s, s.complete()
}

func flatten(errs []error) []error {
	var out []error
	for _, err := range errs {
		if j, ok := err.(interface{ Unwrap() []error }); ok {
			out = append(out, flatten(j.Unwrap())...)
		} else if err != nil {
			out = append(out, err)
		}
	}
	return out
}

// set checks one value and keeps it.
func (s *Settings) set(d Definition, v said) error {
	text := strings.TrimSpace(v.value)
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%s: %s is %q: %s", v.where, d.Name, v.value, fmt.Sprintf(format, args...))
	}
	switch d.Kind {
	case Address:
		if text == "" {
			return nil
		}
		host, port, err := net.SplitHostPort(text)
		if err != nil {
			return wrong("an address is host:port, or :port for all interfaces")
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return wrong("the port is a number from 0 to 65535")
		}
		if strings.HasSuffix(d.Name, ".advertised") && (host == "" || host == "0.0.0.0" || host == "::") {
			return wrong("other nodes can't reach %q; give the host name or address that they know", host)
		}
	case Choice, Level:
		ok := false
		for _, c := range d.Choices {
			ok = ok || strings.EqualFold(c, text)
		}
		if !ok {
			return wrong("give one of %s", strings.Join(d.Choices, ", "))
		}
		text = strings.ToLower(text)
	case Duration:
		n, err := time.ParseDuration(text)
		if err != nil || n <= 0 {
			return wrong("a duration is a number with a unit: 500ms, 10s, 1m30s")
		}
		s.ShutdownTimeout = n
	case Size:
		n, err := size(text)
		if err != nil {
			return wrong("%v", err)
		}
		s.MemoryLimit = n
	case URL:
		if text != "" {
			if err := checkURL(text); err != nil {
				return wrong("%v", err)
			}
		}
	case Switch:
		if _, err := strconv.ParseBool(text); err != nil {
			return wrong("give true or false")
		}
	}
	switch name := d.Name; {
	case name == "node.id":
		if strings.ContainsAny(text, "/\\ \t\n") {
			return wrong("a node's id has neither blanks nor slashes")
		}
		s.NodeID = text
	case name == "data.dir":
		if text == "" {
			return wrong("name a folder")
		}
		s.DataDir = text
	case name == "lake.url":
		s.LakeURL = text
	case name == "rest.listen":
		s.RESTListen = text
	case name == "rest.advertised":
		s.RESTAdvertised = text
	case name == "peer.listen":
		s.PeerListen = text
	case name == "peer.advertised":
		s.PeerAdvertised = text
	case name == "peer.tls.ca":
		s.PeerTLS.CA = text
	case name == "peer.tls.cert":
		s.PeerTLS.Cert = text
	case name == "peer.tls.key":
		s.PeerTLS.Key = text
	case name == "cluster.join":
		for part := range strings.SplitSeq(text, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			host, port, err := net.SplitHostPort(part)
			if n, nerr := strconv.Atoi(port); err != nil || nerr != nil || n < 1 || n > 65535 || host == "" {
				return wrong("%q is no host:port with a port from 1 to 65535", part)
			}
			s.ClusterJoin = append(s.ClusterJoin, part)
		}
	case name == "log.level":
		if err := s.LogLevel.UnmarshalText([]byte(text)); err != nil {
			return wrong("%v", err)
		}
	case name == "log.format":
		s.LogFormat = text
	case strings.HasPrefix(name, "kafka."):
		s.Kafka[strings.TrimPrefix(name, "kafka.")] = text
	case strings.Contains(name, ".converter"):
		s.Converters[name] = text
	}
	return nil
}

// complete works out what was left open.
func (s *Settings) complete() error {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	s.NodeID = cmp.Or(s.NodeID, host)
	if s.DataDir, err = filepath.Abs(s.DataDir); err != nil {
		return fmt.Errorf("data.dir: %w", err)
	}
	s.RESTAdvertised = cmp.Or(s.RESTAdvertised, Advertise(s.RESTListen, host))
	s.PeerAdvertised = cmp.Or(s.PeerAdvertised, Advertise(s.PeerListen, host))
	return nil
}

// Advertise gives the address under which others reach a listener: its own host where it names one.
func Advertise(listen, host string) string {
	h, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if h == "" || h == "0.0.0.0" || h == "::" {
		h = host
	}
	return net.JoinHostPort(h, port)
}

// checkURL checks the form of a lake's address; whether it can be reached is the store's question.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("that is no URL: %w", err)
	}
	switch u.Scheme {
	case "s3", "gs", "azblob":
		if u.Host == "" {
			return fmt.Errorf("the bucket is missing: %s://bucket/prefix", u.Scheme)
		}
	case "file":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			return errors.New("a folder is named with three slashes and its full path: file:///srv/lake")
		}
	case "":
		abs, err := filepath.Abs(text)
		if err != nil {
			abs = "/path/to/lake"
		}
		return fmt.Errorf("a lake is a URL: file://%s, s3://bucket/prefix, gs://… or azblob://…", filepath.ToSlash(abs))
	default:
		return fmt.Errorf("%s is no kind of store that Sluice knows: file, s3, gs or azblob", u.Scheme)
	}
	return nil
}
