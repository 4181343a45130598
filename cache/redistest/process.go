package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
)

const install = `it is not on PATH, and these tests need it (no running server):
  Debian, Ubuntu   apt-get install redis-server
  Fedora           dnf install redis
  Alpine           apk add redis
  macOS            brew install redis`

// process is a redis-server that was started. A nil process has ended.
type process struct {
	command *exec.Cmd
	// done is closed once the process has ended and was waited for.
	done chan struct{}
}

// command is a redis-server to be started: all that it says goes to the file named log, environ is added to the environment.
type command struct {
	log     string
	args    []string
	environ []string
}

func start(c command) (*process, error) {
	path, err := exec.LookPath("redis-server")
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("redis-server: %s", install)
	}
	if err != nil {
		return nil, fmt.Errorf("find redis-server: %w", err)
	}
	out, err := os.Create(c.log)
	if err != nil {
		return nil, fmt.Errorf("create its log: %w", err)
	}
	defer func() { _ = out.Close() }()
	if len(c.environ) > 0 {
		c.args, path = slices.Concat(c.environ, []string{path}, c.args), "env"
	}
	p := &process{command: exec.Command(path, c.args...), done: make(chan struct{})} //nolint:gosec,noctx // see kill
	p.command.Stdout, p.command.Stderr = out, out
	p.command.SysProcAttr = attributes()
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	go func() {
		defer close(p.done)
		_ = p.command.Wait() // how it ended is in the log
	}()
	return p, nil
}

func (p *process) ended() bool {
	if p == nil {
		return true
	}
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process and waits until it is gone.
func (p *process) kill() {
	if p == nil {
		return
	}
	_ = p.command.Process.Kill() // it may be gone
	<-p.done
}

func (p *process) pause() error { return p.signal(syscall.SIGSTOP) }

func (p *process) resume() error { return p.signal(syscall.SIGCONT) }

func (p *process) signal(signal syscall.Signal) error {
	if p.ended() {
		return errEnded
	}
	return p.command.Process.Signal(signal)
}

// paused reports whether the process stands still.
func (p *process) paused() bool { return stopped(p.command.Process.Pid) }
