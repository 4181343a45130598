package observe

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is far more than anything here takes, on a busy machine too.
const patience = 100 * time.Second

// await returns once condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// process is a program that ends with its test.
type process struct {
	t       *testing.T
	command *exec.Cmd
	written transcript
	ended   chan struct{}
}

// start starts a program with nothing but environ in its environment.
func start(t *testing.T, environ []string, program ...string) *process {
	t.Helper()
	p := &process{t: t, command: exec.Command(program[0], program[1:]...), ended: make(chan struct{})}
	p.command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "GOMAXPROCS=2"}, environ...)
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.command.Stdout, p.command.Stderr = &p.written, &p.written
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.command.Wait() // how it ended is in its ProcessState
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", p.command, p.written.tail())
		}
	})
	return p
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// kill ends the process as a crash would.
func (p *process) kill() {
	_ = p.command.Process.Kill()
	<-p.ended
}

// says returns what the expression finds in what the process wrote, once it is there.
func (p *process) says(expression *regexp.Regexp) []string {
	p.t.Helper()
	var found []string
	await(p.t, p.command.Path+" to say "+expression.String(), func() bool {
		found = expression.FindStringSubmatch(p.written.String())
		return found != nil || p.hasEnded()
	})
	if found == nil {
		p.t.Fatalf("%s ended: %s\n%s", p.command, p.command.ProcessState, p.written.tail())
	}
	return found
}

// transcript keeps what was written to it. It is safe for concurrent use.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// tail leaves out all but the end.
func (s *transcript) tail() string {
	text := s.String()
	return text[max(0, len(text)-3000):]
}
