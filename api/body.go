package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"sluice.io/sluice/internal/ownership"
)

// maxBody bounds what is read of a request: Kafka Connect's limit is the broker's largest record.
const maxBody = 16 << 20

// readBody reads the body of a request.
func readBody(r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, fail(http.StatusRequestEntityTooLarge, "the body has more than %d bytes", maxBody)
	}
	if err != nil {
		return nil, fail(http.StatusBadRequest, "the body could not be read: %v", err)
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if at := notUTF8(b); at >= 0 { // encoding/json would put U+FFFD in its place
		line, column := place(b, int64(at))
		return nil, fail(http.StatusBadRequest, "Malformed JSON at line %d, column %d: byte 0x%02x is not UTF-8", line, column+1, b[at])
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, fail(http.StatusBadRequest, "The request has no body; a JSON document is expected")
	}
	return b, nil
}

// notUTF8 is the place of the first byte that is not UTF-8, -1 where all are.
func notUTF8(b []byte) int {
	for at := 0; at < len(b); {
		r, n := utf8.DecodeRune(b[at:])
		if r == utf8.RuneError && n == 1 {
			return at
		}
		at += n
	}
	return -1
}

// member reads a member of a document that has been read: an object or a list, which errors name.
func member(raw json.RawMessage, name string, into any) error {
	err := json.Unmarshal(raw, into)
	if kind := (*json.UnmarshalTypeError)(nil); errors.As(err, &kind) {
		where := name
		if kind.Field != "" {
			where += "." + kind.Field
		}
		return fail(http.StatusBadRequest, "Unexpected JSON %s in %s", kind.Value, where)
	}
	if err != nil {
		return fail(http.StatusBadRequest, "Malformed JSON in %s: %v", name, err)
	}
	return nil
}

// decode reads one JSON document, and nothing after it. Connect answers 500 to what is not JSON; we answer 400.
func decode(b []byte, into any) error {
	err := json.Unmarshal(b, into)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		line, column := place(b, syntax.Offset)
		return fail(http.StatusBadRequest, "Malformed JSON at line %d, column %d: %v", line, column, err)
	case errors.As(err, &kind):
		line, column := place(b, kind.Offset)
		where := ""
		if kind.Field != "" {
			where = " in " + kind.Field
		}
		return fail(http.StatusBadRequest, "Unexpected JSON %s%s at line %d, column %d", kind.Value, where, line, column)
	}
	return fail(http.StatusBadRequest, "Malformed JSON: %v", err)
}

func place(b []byte, offset int64) (line, column int) {
	before := b[:min(int64(len(b)), max(offset, 0))]
	line = bytes.Count(before, []byte("\n")) + 1
	return line, len(before) - (bytes.LastIndexByte(before, '\n') + 1)
}

// readObject reads a JSON object, member by member.
func readObject(r *http.Request) (map[string]json.RawMessage, error) {
	b, err := readBody(r)
	if err != nil {
		return nil, err
	}
	var out map[string]json.RawMessage
	if err := decode(b, &out); err != nil {
		return nil, err
	}
	if out == nil {
		return nil, fail(http.StatusBadRequest, "A JSON object is expected, not null")
	}
	return out, nil
}

// scalar reads a value that is to be a string. Numbers and booleans keep their lexical form (T7): 1.50 is "1.50".
// nil is a null.
func scalar(name string, raw json.RawMessage) (*string, error) {
	raw = bytes.TrimSpace(raw)
	switch raw[0] {
	case 'n':
		return nil, nil
	case '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, fail(http.StatusBadRequest, "Malformed JSON in %s: %v", name, err)
		}
		return &s, nil
	case '{', '[':
		kind, token := "Object", "START_OBJECT"
		if raw[0] == '[' {
			kind, token = "Array", "START_ARRAY"
		}
		return nil, fail(http.StatusBadRequest, "Cannot deserialize value of type `java.lang.String` from %s value (token `JsonToken.%s`): "+
			"the value of %q must be a string, a number or a boolean; lists are written as one string with commas", kind, token, name)
	}
	s := string(raw)
	return &s, nil
}

// configMap reads a configuration. A nil value is a null.
func configMap(in map[string]json.RawMessage) (map[string]*string, error) {
	out := make(map[string]*string, len(in))
	for _, k := range slices.Sorted(maps.Keys(in)) {
		v, err := scalar(k, in[k])
		if err != nil {
			return nil, err
		}
		out[k] = v
	}
	return out, nil
}

// createRequest is the body of POST /connectors.
type createRequest struct {
	name    string
	config  map[string]*string
	initial ownership.TargetState
}

func readCreate(r *http.Request) (createRequest, error) {
	var c createRequest
	in, err := readObject(r)
	if err != nil {
		return c, err
	}
	for _, k := range slices.Sorted(maps.Keys(in)) {
		if k != "name" && k != "config" && k != "initial_state" {
			return c, fail(http.StatusBadRequest, "Unrecognized field %q (class CreateConnectorRequest), not marked as ignorable (3 known properties: \"config\", \"name\", \"initial_state\")", k)
		}
	}
	if raw, ok := in["name"]; ok {
		name, err := scalar("name", raw)
		if err != nil {
			return c, err
		}
		if name != nil {
			c.name = strings.TrimSpace(*name)
		}
	}
	raw, ok := in["config"]
	if !ok || string(bytes.TrimSpace(raw)) == "null" {
		return c, fail(http.StatusBadRequest, "The request has no member \"config\"; the connector's configuration is expected there")
	}
	var members map[string]json.RawMessage
	if err := decode(raw, &members); err != nil {
		return c, fail(http.StatusBadRequest, "the member \"config\" must be a JSON object of strings")
	}
	if c.config, err = configMap(members); err != nil {
		return c, err
	}
	c.initial = ownership.TargetRunning
	if raw, ok := in["initial_state"]; ok {
		s, err := scalar("initial_state", raw)
		if err != nil {
			return c, err
		}
		if s != nil {
			c.initial = ownership.TargetState(strings.ToUpper(*s))
		}
		if c.initial != ownership.TargetRunning && c.initial != ownership.TargetPaused && c.initial != ownership.TargetStopped {
			return c, fail(http.StatusBadRequest, "initial_state is one of RUNNING, PAUSED and STOPPED, not %q", *s)
		}
	}
	return c, nil
}

// printConfig shows a configuration in a message, as Java prints a map, without what looks like a secret.
func printConfig(m map[string]*string, secret func(string) bool) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		v := "null"
		switch {
		case secret(k):
			v = "[hidden]"
		case m[k] != nil:
			v = *m[k]
		}
		parts = append(parts, fmt.Sprintf("%s=%s", k, v))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
