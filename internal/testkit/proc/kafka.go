package proc

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/internal/testkit/ports"
)

// Kafka is a real Apache Kafka broker (KRaft, one process is broker and controller) on this machine.
type Kafka struct {
	*Process
	Addr string
	// listens is where the process itself listens.
	listens string
	dir     string
	libs    string
}

// StartKafka starts a broker from the jars in the folder that SLUICE_KAFKA_LIBS names, with its data in dir. The test is
// skipped where that is not set.
func StartKafka(tb testing.TB, dir string) *Kafka {
	tb.Helper()
	return StartKafkaBehind(tb, dir, nil)
}

// StartKafkaBehind is StartKafka for a broker that tells its clients to come through another address, which announce makes for that
// on which it listens; nil: the same. Addr is the address for clients.
func StartKafkaBehind(tb testing.TB, dir string, announce func(listens string) string) *Kafka {
	tb.Helper()
	return startKafka(tb, dir, announce, nil)
}

func startKafka(tb testing.TB, dir string, announce func(listens string) string, secure *Secure) *Kafka {
	tb.Helper()
	libs := os.Getenv("SLUICE_KAFKA_LIBS")
	if libs == "" {
		tb.Skip("SKIPPED: SLUICE_KAFKA_LIBS does not name a folder with Apache Kafka's jars")
	}
	k := &Kafka{Addr: ports.Address(tb), dir: dir, libs: libs}
	k.listens = k.Addr
	if announce != nil {
		k.Addr = announce(k.listens)
	}
	controller := ports.Address(tb)
	more := secure.listeners()
	properties := strings.Join([]string{
		"process.roles=broker,controller", "node.id=1",
		"controller.quorum.voters=1@" + controller, "controller.listener.names=CONTROLLER",
		"listeners=PLAINTEXT://" + k.listens + ",CONTROLLER://" + controller + more,
		"advertised.listeners=PLAINTEXT://" + k.Addr + more,
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,SASL_PLAINTEXT:SASL_PLAINTEXT",
		"log.dirs=" + filepath.Join(dir, "log"),
		"offsets.topic.replication.factor=1", "offsets.topic.num.partitions=4",
		"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1", "transaction.state.log.num.partitions=4",
		"share.coordinator.state.topic.replication.factor=1", "share.coordinator.state.topic.min.isr=1",
		"group.initial.rebalance.delay.ms=0", "log.cleaner.dedupe.buffer.size=16777216", "log.retention.ms=-1",
		"auto.create.topics.enable=false", "",
	}, "\n") + secure.properties()
	log4j := strings.Join([]string{
		"status = warn", "appender.out.type = Console", "appender.out.name = out",
		"appender.out.layout.type = PatternLayout", "appender.out.layout.pattern = %d{ISO8601} %p [%t] %c{1} - %m%n",
		"rootLogger.level = WARN", "rootLogger.appenderRef.out.ref = out", "",
	}, "\n")
	for name, text := range map[string]string{"kafka.properties": properties, "log4j2.properties": log4j} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	id, err := k.java("kafka.tools.StorageTool", "random-uuid").Output()
	if err != nil {
		tb.Fatalf("kafka random-uuid: %v", err)
	}
	lines := strings.Fields(string(id))
	format := k.java(append([]string{"kafka.tools.StorageTool", "format", "-t", lines[len(lines)-1], "-c", filepath.Join(dir, "kafka.properties")}, secure.users()...)...)
	if out, err := format.CombinedOutput(); err != nil {
		tb.Fatalf("kafka format: %v\n%s", err, out)
	}
	k.Restart(tb)
	return k
}

func (k *Kafka) java(args ...string) *exec.Cmd {
	return exec.Command("java", append([]string{"-cp", filepath.Join(k.libs, "*")}, args...)...)
}

// Restart starts the broker (again) with its data and waits until it listens. End it before with Kill or Stop.
func (k *Kafka) Restart(tb testing.TB) {
	tb.Helper()
	k.Process = Start(tb, "kafka", nil, "java", "-Xms128m", "-Xmx768m",
		"-Dlog4j2.configurationFile="+filepath.Join(k.dir, "log4j2.properties"),
		"-cp", filepath.Join(k.libs, "*"), "kafka.Kafka", filepath.Join(k.dir, "kafka.properties"))
	Eventually(tb, 2*time.Minute, "kafka listens on "+k.listens, func() (bool, string) {
		select {
		case <-k.Done():
			tb.Fatalf("kafka ended:\n%s", k.Output())
		default:
		}
		c, err := net.DialTimeout("tcp", k.listens, time.Second)
		if err != nil {
			return false, err.Error()
		}
		c.Close()
		return true, ""
	})
}
