package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice.io/sluice/internal/devbroker"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// brokerMain is the broker's process. It fills its topics, says where it is, then obeys lines: "cpu" prints the CPU seconds used,
// "rate n seconds" produces in real time, end of input ends it.
func brokerMain(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) != 3 {
		return errors.New("bench broker: what, events and partitions are needed")
	}
	events, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	partitions, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	b, err := devbroker.Open(devbroker.Options{})
	if err != nil {
		return err
	}
	defer b.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(2*time.Millisecond),
		kgo.ProducerBatchMaxBytes(512<<10), kgo.MaxBufferedRecords(100_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := createTopics(ctx, cl, int32(partitions)); err != nil {
		return err
	}
	gen := newOrders(200_000, int32(partitions), 1)
	if err := fill(ctx, cl, args[0], events, int32(partitions), gen); err != nil {
		return err
	}
	fmt.Fprintln(out, "ready", b.Addr())
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 1 && words[0] == "cpu":
			fmt.Fprintf(out, "cpu %.3f\n", cpuSeconds())
		case len(words) == 3 && words[0] == "rate":
			rate, _ := strconv.Atoi(words[1])
			seconds, _ := strconv.Atoi(words[2])
			if err := produceAt(ctx, cl, gen, rate, time.Duration(seconds)*time.Second); err != nil {
				return err
			}
			fmt.Fprintln(out, "done")
		}
	}
	return lines.Err()
}

func createTopics(ctx context.Context, cl *kgo.Client, partitions int32) error {
	req := kmsg.NewCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	for _, name := range []string{smallTopic, ordersTopic} {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
		req.Topics = append(req.Topics, t)
	}
	_, err := req.RequestWith(ctx, cl)
	return err
}

func fill(ctx context.Context, cl *kgo.Client, what string, events int, partitions int32, gen *orders) error {
	var failed error
	for i := range events {
		var r *kgo.Record
		if what == "bronze" {
			r = &kgo.Record{Topic: smallTopic, Partition: int32(i) % partitions, Key: strconv.AppendInt(nil, int64(i), 10), Value: smallEvent(int64(i))}
		} else {
			r = gen.next()
		}
		cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	return failed
}

// produceAt writes events at an even rate.
func produceAt(ctx context.Context, cl *kgo.Client, gen *orders, rate int, d time.Duration) error {
	const step = 10 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	start := time.Now()
	sent := 0
	for time.Since(start) < d {
		<-tick.C
		due := int(float64(rate) * time.Since(start).Seconds())
		for ; sent < due; sent++ {
			r := gen.next()
			r.Timestamp = time.Now()
			cl.Produce(ctx, r, nil)
		}
	}
	return cl.Flush(ctx)
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return seconds(u.Utime) + seconds(u.Stime)
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// process is a child that speaks in lines.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func spawn(ctx context.Context, env []string, args ...string) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Env = append(cmd.Env, childEnv+"="+strings.Join(args, " "))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd: cmd, in: in, out: bufio.NewScanner(out)}, nil
}

// line reads the next line that begins with a word, and gives what follows it.
func (p *process) line(word string) (string, error) {
	for p.out.Scan() {
		if rest, ok := strings.CutPrefix(p.out.Text(), word); ok {
			return strings.TrimSpace(rest), nil
		}
	}
	return "", fmt.Errorf("the process %s ended before it said %q", strings.Join(p.cmd.Args[1:], " "), word)
}

func (p *process) ask(line, word string) (string, error) {
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		return "", err
	}
	return p.line(word)
}

// end closes the child's input and waits.
func (p *process) end() error {
	_ = p.in.Close()
	for p.out.Scan() {
	}
	return p.cmd.Wait()
}

func (p *process) cpu() float64 {
	text, err := p.ask("cpu", "cpu")
	if err != nil {
		return 0
	}
	v, _ := strconv.ParseFloat(text, 64)
	return v
}
