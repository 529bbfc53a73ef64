package settings

import (
	"slices"
	"strings"

	"sluice.io/sluice/internal/near"
)

// Kind is how a setting's text is read.
type Kind string

// The kinds of settings.
const (
	Text     Kind = "text"
	Address  Kind = "host:port"
	List     Kind = "list" // separated by commas, or a YAML list
	URL      Kind = "url"
	Size     Kind = "size"     // 512MiB, 2GB, 75%
	Duration Kind = "duration" // 10s, 1m30s
	Level    Kind = "level"
	Choice   Kind = "choice"
	Switch   Kind = "true or false"
)

// Definition is one setting.
type Definition struct {
	Name    string
	Kind    Kind
	Default string
	// Choices of a Choice or Level.
	Choices []string
	// Help is one line for --help and docs/configuration.md.
	Help string
	// DefaultText replaces Default where that is worked out at start.
	DefaultText string
}

// Flag is the name on the command line, without dashes.
func (d Definition) Flag() string { return strings.ReplaceAll(d.Name, ".", "-") }

// Env is the name in the environment.
func (d Definition) Env() string {
	return "SLUICE_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(d.Name))
}

// Prefixes are open families: any name that begins so is taken, and checked by the room that knows it.
var Prefixes = []Definition{
	{Name: "kafka.", Kind: Text, Help: "any Kafka client property: kafka.security.protocol, kafka.sasl.mechanism, kafka.ssl.truststore.location …"},
	{Name: "key.converter.", Kind: Text, Help: "options of the default key.converter, as in a Kafka Connect worker"},
	{Name: "value.converter.", Kind: Text, Help: "options of the default value.converter, as in a Kafka Connect worker"},
}

var definitions = []Definition{
	{Name: "node.id", Kind: Text, DefaultText: "host name", Help: "name of this node in the cluster; stable over restarts"},
	{Name: "data.dir", Kind: Text, Default: "./data", Help: "Raft log, key index and spill; nothing in it is needed to get the tables right again"},
	{Name: "kafka.bootstrap.servers", Kind: List, Help: "brokers to begin with, host:port, separated by commas"},
	{Name: "lake.url", Kind: URL, Help: "lake of connectors that name none: file:///path, s3://bucket/prefix, gs://…, azblob://…"},
	{Name: "rest.listen", Kind: Address, Default: ":8083", Help: "where the REST API listens"},
	{Name: "rest.advertised", Kind: Address, DefaultText: "host name and port of rest.listen", Help: "where other nodes and clients reach this node's REST API"},
	{Name: "peer.listen", Kind: Address, Default: ":8093", Help: "where Raft and peer requests listen"},
	{Name: "peer.advertised", Kind: Address, DefaultText: "host name and port of peer.listen", Help: "where other nodes reach this node"},
	{Name: "cluster.join", Kind: List, DefaultText: "empty: a cluster of one", Help: "peers' host:port, separated by commas; this node may be among them"},
	{Name: "peer.tls.ca", Kind: Text, DefaultText: "empty: no TLS", Help: "PEM file of the authority of all nodes; with peer.tls.cert and .key, nodes speak mutual TLS with each other"},
	{Name: "peer.tls.cert", Kind: Text, DefaultText: "empty", Help: "PEM file of this node's certificate for the host of peer.advertised, for servers and clients; read again when it is renewed"},
	{Name: "peer.tls.key", Kind: Text, DefaultText: "empty", Help: "PEM file of that certificate's key"},
	{Name: "memory.limit", Kind: Size, Default: "75%", Help: "of the machine's or cgroup's memory; shared out to fetch, batches, index and uploads"},
	{Name: "shutdown.timeout", Kind: Duration, Default: "30s", Help: "how long a drain may take before the node stops anyway"},
	{Name: "log.level", Kind: Level, Default: "info", Choices: []string{"debug", "info", "warn", "error"}, Help: "least level that is logged"},
	{Name: "log.format", Kind: Choice, Default: "auto", Choices: []string{"auto", "text", "json"}, Help: "auto: text on a terminal, else JSON"},
	{Name: "key.converter", Kind: Text, Default: "org.apache.kafka.connect.json.JsonConverter", Help: "converter of connectors that name none"},
	{Name: "value.converter", Kind: Text, Default: "org.apache.kafka.connect.json.JsonConverter", Help: "converter of connectors that name none"},
}

// Definitions lists all settings that have a name of their own, in the order of docs/configuration.md.
func Definitions() []Definition { return slices.Clone(definitions) }

func find(name string) (Definition, bool) {
	for _, d := range definitions {
		if d.Name == name {
			return d, true
		}
	}
	for _, p := range Prefixes {
		if strings.HasPrefix(name, p.Name) && len(name) > len(p.Name) {
			return Definition{Name: name, Kind: Text, Help: p.Help}, true
		}
	}
	return Definition{}, false
}

// Nearest gives the known name that looks most like name, or "" when none does.
func Nearest(name string, known []string) string {
	return near.Nearest(name, known, max(2, len(name)/3))
}

func names() []string {
	out := make([]string, 0, len(definitions))
	for _, d := range definitions {
		out = append(out, d.Name)
	}
	return out
}
