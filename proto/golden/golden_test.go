package golden

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	peerv1 "sluice.io/sluice/proto/peer/v1"
	raftv1 "sluice.io/sluice/proto/raft/v1"
	snapshotv1 "sluice.io/sluice/proto/snapshot/v1"
)

var update = flag.Bool("update", false, "append what is new to the files of the release under way")

// current is the release under way; the file of an older one is never written again.
const current = "v0"

var files = []protoreflect.FileDescriptor{
	raftv1.File_raft_v1_types_proto, raftv1.File_raft_v1_command_proto, snapshotv1.File_snapshot_v1_snapshot_proto,
	peerv1.File_peer_v1_peer_proto,
}

func messages() []protoreflect.MessageDescriptor {
	var out []protoreflect.MessageDescriptor
	var add func(protoreflect.MessageDescriptors)
	add = func(ms protoreflect.MessageDescriptors) {
		for i := range ms.Len() {
			out = append(out, ms.Get(i))
			add(ms.Get(i).Messages())
		}
	}
	for _, f := range files {
		add(f.Messages())
	}
	return out
}

// samples gives every message with every field set, and one with a choice for each member of it.
func samples(d protoreflect.MessageDescriptor) map[string]protoreflect.Message {
	out := map[string]protoreflect.Message{string(d.FullName()): sample(d, nil, 0)}
	for i := range d.Oneofs().Len() {
		fs := d.Oneofs().Get(i).Fields()
		for j := range fs.Len() {
			out[string(d.FullName())+"#"+string(fs.Get(j).Name())] = sample(d, fs.Get(j), 0)
		}
	}
	return out
}

func sample(d protoreflect.MessageDescriptor, choice protoreflect.FieldDescriptor, depth int) protoreflect.Message {
	m := dynamicpb.NewMessage(d)
	if depth > 4 {
		return m
	}
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if o := f.ContainingOneof(); o != nil {
			pick := o.Fields().Get(0)
			if choice != nil {
				pick = choice
			}
			if pick.Number() != f.Number() {
				continue
			}
		}
		if f.IsList() {
			l := m.Mutable(f).List()
			l.Append(value(f, depth, 0))
			l.Append(value(f, depth, 1))
			continue
		}
		m.Set(f, value(f, depth, 0))
	}
	return m
}

func value(f protoreflect.FieldDescriptor, depth, n int) protoreflect.Value {
	num := uint64(f.Number())*1000 + uint64(n) + 1
	switch f.Kind() {
	case protoreflect.MessageKind:
		return protoreflect.ValueOfMessage(sample(f.Message(), nil, depth+1))
	case protoreflect.EnumKind:
		vs := f.Enum().Values()
		return protoreflect.ValueOfEnum(vs.Get(min(1+n, vs.Len()-1)).Number())
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(fmt.Sprintf("%s-%d", f.Name(), n))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{byte(f.Number()), byte(n), 0xff})
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(num))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(num))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(num))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(num)
	default:
		panic("golden: no sample for a field of kind " + f.Kind().String())
	}
}

func read(t *testing.T, name string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			out[k] = v
		}
	}
	return out
}

func write(t *testing.T, name string, lines map[string]string) {
	t.Helper()
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&b, "%s %s\n", k, lines[k])
	}
	if err := os.WriteFile(filepath.Join("testdata", name), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestEveryReleaseDecodes: what a release has written is understood, in full, and written the same.
func TestEveryReleaseDecodes(t *testing.T) {
	now := map[string]string{}
	for _, d := range messages() {
		for name, m := range samples(d) {
			data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
			if err != nil {
				t.Fatal(err)
			}
			now[name] = "+" + base64.StdEncoding.EncodeToString(data)
		}
	}
	if *update {
		have := read(t, current+".txt")
		for name, data := range now {
			if _, ok := have[name]; !ok {
				have[name] = data
			}
		}
		write(t, current+".txt", have)
	}
	releases, err := filepath.Glob("testdata/v*.txt")
	if err != nil || len(releases) == 0 {
		t.Fatalf("no releases: %v", err)
	}
	for _, path := range releases {
		for name, text := range read(t, filepath.Base(path)) {
			data, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "+"))
			if err != nil {
				t.Fatalf("%s: %s: %v", path, name, err)
			}
			full, _, _ := strings.Cut(name, "#")
			mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(full))
			if err != nil {
				t.Errorf("%s: %s: the message is gone: %v", path, name, err)
				continue
			}
			m := mt.New().Interface()
			if err := proto.Unmarshal(data, m); err != nil {
				t.Errorf("%s: %s no longer decodes: %v", path, name, err)
				continue
			}
			if where := unknown(m.ProtoReflect()); where != "" {
				t.Errorf("%s: %s: a field of %s is no longer known", path, name, where)
			}
			again, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			if err != nil || !bytes.Equal(again, data) {
				t.Errorf("%s: %s is written otherwise now (%v)", path, name, err)
			}
		}
	}
	have := read(t, current+".txt")
	for name := range now {
		if _, ok := have[name]; !ok {
			t.Errorf("%s has no sample in testdata/%s.txt; run: go test ./proto/golden -update", name, current)
		}
	}
}

// unknown names a message that holds bytes which nobody understands.
func unknown(m protoreflect.Message) string {
	if len(m.GetUnknown()) > 0 {
		return string(m.Descriptor().FullName())
	}
	found := ""
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Kind() != protoreflect.MessageKind {
			return true
		}
		if f.IsList() {
			for i := range v.List().Len() {
				found = unknown(v.List().Get(i).Message())
			}
		} else {
			found = unknown(v.Message())
		}
		return found == ""
	})
	return found
}

// TestNumbersAreNeverChanged: a field, command or enum value keeps its number, and a number its meaning.
func TestNumbersAreNeverChanged(t *testing.T) {
	now := map[string]string{}
	for _, d := range messages() {
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			kind := f.Kind().String()
			switch {
			case f.Message() != nil:
				kind = string(f.Message().FullName())
			case f.Enum() != nil:
				kind = string(f.Enum().FullName())
			}
			now[fmt.Sprintf("%s=%d", d.FullName(), f.Number())] = fmt.Sprintf("%s %s %s", f.Name(), f.Cardinality(), kind)
		}
		enums(d.Enums(), now)
	}
	for _, f := range files {
		enums(f.Enums(), now)
	}
	const name = "numbers.txt"
	have := read(t, name)
	if *update {
		for k, v := range now {
			if _, ok := have[k]; !ok {
				have[k] = v
			}
		}
		write(t, name, have)
	}
	for k, v := range have {
		if now[k] != v {
			t.Errorf("%s meant %q and means %q: numbers are append-only, reserve what is retired", k, v, now[k])
		}
	}
	for k, v := range now {
		if _, ok := have[k]; !ok {
			t.Errorf("%s (%s) is not in testdata/%s; run: go test ./proto/golden -update", k, v, name)
		}
	}
}

func enums(es protoreflect.EnumDescriptors, out map[string]string) {
	for i := range es.Len() {
		vs := es.Get(i).Values()
		for j := range vs.Len() {
			out[fmt.Sprintf("%s=%d", es.Get(i).FullName(), vs.Get(j).Number())] = string(vs.Get(j).Name())
		}
	}
}
