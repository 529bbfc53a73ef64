package proc

import (
	"syscall"
	"testing"
	"time"
)

func TestStopKillsWhatIgnoresTERM(t *testing.T) {
	t.Parallel()
	p := Start(t, "stubborn", nil, "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
	Eventually(t, 10*time.Second, "it prints", func() (bool, string) { return p.Output() == "up\n", p.Output() })
	if err := p.Stop(100 * time.Millisecond); err == nil {
		t.Error("Stop of a process that ignores SIGTERM gave no error")
	}
	if p.Signal(syscall.Signal(0)) == nil {
		t.Error("the process is still there")
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	p := Start(t, "seven", nil, "sh", "-c", "exit 7")
	<-p.Done()
	if c := p.ExitCode(); c != 7 {
		t.Errorf("exit code %d, want 7", c)
	}
}

func TestKafkaSurvivesKill(t *testing.T) {
	k := StartKafka(t, t.TempDir())
	k.Kill()
	k.Restart(t)
}
