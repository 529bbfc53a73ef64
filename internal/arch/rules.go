package arch

import "strings"

// module is the path that every import of our own begins with.
const module = "sluice.io/sluice"

// room is a folder with the rooms that it may import. Of the rooms that match a package the longest counts.
type room struct {
	path string
	may  []string
	why  string
}

// rooms are the import rules, from the top down. A package may always import packages of the same room.
var rooms = []room{
	{path: "cmd", may: []string{"api", "worker", "coordinator", "connectors", "proto", "internal"},
		why: "the binary wires everything"},
	{path: "api", may: []string{"connectors", "proto", "internal"},
		why: "the three peers api, worker and coordinator meet only in cmd, through ports that the side in need declares"},
	{path: "worker", may: []string{"connectors", "proto", "internal"},
		why: "the three peers api, worker and coordinator meet only in cmd, through ports that the side in need declares"},
	{path: "coordinator", may: []string{"connectors", "proto", "internal"},
		why: "the three peers api, worker and coordinator meet only in cmd, through ports that the side in need declares"},
	{path: "connectors", may: []string{"internal"},
		why: "connectors say what outside bytes mean; they know no node, no cluster and no Raft"},
	{path: "proto", may: []string{"internal"},
		why: "proto holds the promised numbers and no logic"},
	{path: "internal", may: nil,
		why: "internal is the leaf vocabulary and the test kit; nothing of ours lies below it"},
}

// ban says that packages under in may not import packages under of.
type ban struct {
	in, of string
	why    string
}

var bans = []ban{
	{in: "coordinator", of: "connectors/kafka", why: "the coordinator agrees on owners; it knows no Kafka (DESIGN, The house)"},
	{in: "coordinator", of: "connectors/columnar", why: "the coordinator agrees on owners; it knows no Parquet (DESIGN, The house)"},
	{in: "coordinator", of: "connectors/delta", why: "the coordinator agrees on owners; it knows no Delta (DESIGN, The house)"},
	{in: "coordinator/state", of: "coordinator/raftnode", why: "the state machine is pure; Raft carries it, it does not know Raft"},
	{in: "coordinator/state", of: "coordinator/peer", why: "the state machine is pure; it speaks to nobody"},
	{in: "coordinator/placement", of: "coordinator/raftnode", why: "planning is a pure function"},
	{in: "coordinator/placement", of: "coordinator/peer", why: "planning is a pure function"},
	{in: "connectors/store", of: "connectors/delta", why: "a store keeps objects; what they mean is not its question"},
	{in: "connectors/store", of: "connectors/columnar", why: "a store keeps objects; what they mean is not its question"},
	{in: "connectors/cdc", of: "connectors/kafka", why: "a decoder is a pure function of a record; where records come from is not its question"},
	{in: "connectors/cdc", of: "connectors/delta", why: "a decoder is a pure function of a record; where changes go is not its question"},
	{in: "connectors/cdc", of: "connectors/columnar", why: "a decoder is a pure function of a record; where changes go is not its question"},
	{in: "connectors/cdc", of: "connectors/store", why: "a decoder is a pure function of a record; it reads no objects"},
	{in: "connectors/kafka", of: "connectors/delta", why: "the broker's room knows no tables"},
	{in: "connectors/kafka", of: "connectors/columnar", why: "the broker's room knows no tables"},
	{in: "connectors/kafka", of: "connectors/cdc", why: "the broker's room gives records; what they mean is the decoders' question"},
	{in: "connectors/delta", of: "connectors/kafka", why: "the table format knows no broker"},
	{in: "connectors/delta", of: "connectors/cdc", why: "the table format knows no change events"},
	{in: "connectors/columnar", of: "connectors/delta", why: "columns lie below the table format"},
	{in: "connectors/columnar", of: "connectors/kafka", why: "columns know no broker"},
	{in: "connectors/schema", of: "connectors", why: "types are the lowest word of the vocabulary"},
}

// keeper says which rooms may import a third-party library in production code. A major upgrade then touches them only.
type keeper struct {
	library string // import path prefix
	rooms   []string
}

var keepers = []keeper{
	{"github.com/IBM/sarama", []string{"connectors/kafka"}},
	{"github.com/hashicorp/raft", []string{"coordinator/raftnode"}},
	{"github.com/hashicorp/raft-boltdb", []string{"coordinator/raftnode"}},
	{"github.com/hashicorp/raft-autopilot", []string{"coordinator/raftnode"}},
	{"go.etcd.io/bbolt", []string{"coordinator/raftnode"}},
	{"github.com/gorilla/mux", []string{"api"}},
	{"gocloud.dev", []string{"connectors/store"}},
	{"github.com/aws/", []string{"connectors/store"}},
	{"cloud.google.com/", []string{"connectors/store"}},
	{"github.com/Azure/", []string{"connectors/store"}},
	{"github.com/apache/arrow", []string{"connectors/columnar", "connectors/delta", "worker/silver", "worker/bronze"}},
	{"github.com/RoaringBitmap/roaring", []string{"connectors/delta", "worker/silver", "cmd/sluice/cli"}},
	{"github.com/valyala/fastjson", []string{"connectors"}},
	{"github.com/twmb/franz-go/pkg/kfake", []string{"cmd/sluice/dev", "internal/devbroker", "internal/testkit"}},
	{"github.com/twmb/franz-go/pkg/kgo", []string{"cmd/sluice/dev", "cmd/sluice/bench", "internal/devbroker", "internal/shop", "internal/testkit"}},
	{"github.com/google/cel-go", []string{"connectors/smt"}},
	{"github.com/spf13/cobra", []string{"cmd"}},
	{"github.com/knadh/koanf", []string{"cmd"}},
}

// forbidden calls: pkg.Name selectors that may not appear in production code under in.
type forbiddenCall struct {
	in     string // "" is everywhere
	except []string
	pkg    string // import path
	names  []string
	why    string
}

var forbiddenCalls = []forbiddenCall{
	{in: "", except: []string{"cmd"}, pkg: "os", names: []string{"Exit"},
		why: "only cmd ends the process; return an error"},
	{in: "", pkg: "log", names: []string{"Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln", "Print", "Printf", "Println"},
		why: "logging is an injected *slog.Logger, and only cmd ends the process"},
	{in: "coordinator/state", pkg: "time", names: []string{"Now", "Since", "Until"},
		why: "D10: Apply is deterministic; time comes in with the command"},
	{in: "coordinator/placement", pkg: "time", names: []string{"Now", "Since", "Until"},
		why: "planning is a pure function; time comes in as an argument"},
	{in: "connectors", pkg: "net/http", names: []string{"ListenAndServe", "ListenAndServeTLS", "Serve", "Server"},
		why: "connectors serve no HTTP"},
	{in: "worker", pkg: "golang.org/x/sync/errgroup", names: []string{"Group", "WithContext"},
		why: "a panic in a goroutine fails its task, not the process; use internal/guard"},
	{in: "connectors", pkg: "golang.org/x/sync/errgroup", names: []string{"Group", "WithContext"},
		why: "a panic in a goroutine fails its task, not the process; use internal/guard"},
	{in: "worker", pkg: "net/http", names: []string{"ListenAndServe", "ListenAndServeTLS", "Serve", "Server"},
		why: "who may ask and how we answer is api's question"},
}

// forbiddenImports are standard packages that a pure room may not import.
var forbiddenImports = []struct{ in, pkg, why string }{
	{"coordinator/state", "math/rand", "D10: Apply is deterministic"},
	{"coordinator/state", "math/rand/v2", "D10: Apply is deterministic"},
	{"coordinator/state", "crypto/rand", "D10: Apply is deterministic"},
	{"coordinator/state", "net/http", "the state machine speaks to nobody"},
	{"coordinator/placement", "math/rand", "planning is a pure function"},
	{"coordinator/placement", "math/rand/v2", "planning is a pure function"},
	{"connectors/cdc", "net/http", "a decoder is a pure function of a record"},
}

// testFolders are packages that are there for tests: production code never imports them.
var testFolders = []string{"internal/testkit", "connectors/cdc/internal/samples", "connectors/store/storetest", "connectors/store/faultstore"}

func forTests(pkg string) bool {
	for _, f := range testFolders {
		if under(pkg, f) {
			return true
		}
	}
	return false
}

// maxFileLines is the longest that a hand-written file may be.
const maxFileLines = 900

// under tells whether path is folder or lies below it.
func under(path, folder string) bool {
	return folder == "" || path == folder || strings.HasPrefix(path, folder+"/")
}

// roomOf gives the room of a package path relative to the module.
func roomOf(path string) (room, bool) {
	for _, r := range rooms {
		if under(path, r.path) {
			return r, true
		}
	}
	return room{}, false
}

// directionFault gives the sentence that says why from may not import to (both relative to the module), or "".
func directionFault(from, to string) string {
	r, ok := roomOf(from)
	if !ok {
		return from + " is in no room of the house: add its room to internal/arch or move it into one."
	}
	allowed := under(to, r.path)
	for _, m := range r.may {
		allowed = allowed || under(to, m)
	}
	if !allowed {
		t, _ := roomOf(to)
		return from + " imports " + to + ": " + r.path + " may not know " + t.path + ", because " + r.why + "."
	}
	for _, b := range bans {
		if under(from, b.in) && under(to, b.of) && !under(to, b.in) {
			return from + " imports " + to + ": " + b.why + "."
		}
	}
	return ""
}

// keeperFault gives the sentence that says why from may not import the library, or "".
func keeperFault(from, library string) string {
	best := -1
	for i, k := range keepers {
		if (library == k.library || strings.HasPrefix(library, strings.TrimSuffix(k.library, "/")+"/")) &&
			(best < 0 || len(k.library) > len(keepers[best].library)) {
			best = i
		}
	}
	if best < 0 {
		return ""
	}
	k := keepers[best]
	for _, r := range k.rooms {
		if under(from, r) {
			return ""
		}
	}
	return from + " imports " + library + ": its keeper is " + strings.Join(k.rooms, ", ") +
		"; ask that room for what you need, so that an upgrade touches one place."
}
