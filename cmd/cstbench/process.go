package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

const (
	// patience is far more than anything here takes to start or to end, on a busy machine too.
	patience = 20 * time.Second
	// interval is how often something is looked at that tells nobody.
	interval = 5 * time.Millisecond
)

var errPatience = errors.New("waited too long")

// command is a program to be started, with nothing but Environ in its environment. Dir is the folder of the world, unless set.
type command struct {
	Name    string // of its log, too
	Path    string
	Args    []string
	Environ []string
	Dir     string
}

// process is a program that was started. What it writes is in its log.
type process struct {
	Pid   int
	log   string
	exec  *exec.Cmd
	ended chan struct{} // closed once it was waited for
}

// spawn starts a program that ends, at the latest, with this process.
func (w *world) spawn(c command) (*process, error) {
	p := &process{log: filepath.Join(w.Dir, c.Name+".log"), ended: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("create the log of %s: %w", c.Name, err)
	}
	defer func() { _ = out.Close() }()
	p.exec = exec.Command(c.Path, c.Args...) //nolint:gosec,noctx // Stop ends it, by a signal that it may answer
	p.exec.Dir, p.exec.Env = w.Dir, c.Environ
	if c.Dir != "" {
		p.exec.Dir = c.Dir
	}
	p.exec.Stdout, p.exec.Stderr = out, out
	p.exec.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.exec.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p.Pid = p.exec.Process.Pid
	go func() {
		defer close(p.ended)
		_ = p.exec.Wait() // how it ended is in its log
	}()
	return p, nil
}

// Stop asks the process to end, and ends it if it does not.
func (p *process) Stop() error {
	_ = p.exec.Process.Signal(syscall.SIGTERM) // it may be gone
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case <-p.ended:
		return nil
	case <-deadline.C:
	}
	_ = p.exec.Process.Kill()
	<-p.ended
	return fmt.Errorf("stop %s: %w", p.exec.Path, errPatience)
}

// says returns what pattern finds in what the process writes, once it is there.
func (p *process) says(ctx context.Context, pattern *regexp.Regexp) (found []string, err error) {
	err = p.await(ctx, func() bool {
		text, err := os.ReadFile(p.log)
		found = pattern.FindStringSubmatch(string(text))
		return err == nil && found != nil
	})
	return found, err
}

// await returns once condition holds, and fails if the process ends before, or it takes too long.
func (p *process) await(ctx context.Context, condition func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-p.ended:
			return p.explain(errors.New("it ended"))
		case <-ctx.Done():
			return p.explain(context.Cause(ctx))
		}
	}
	return nil
}

// explain adds what the process wrote last.
func (p *process) explain(err error) error {
	text, _ := os.ReadFile(p.log) // without it there is less to say
	const most = 2000
	return fmt.Errorf("%s: %w: %s", filepath.Base(p.exec.Path), err, bytes.TrimSpace(text[max(0, len(text)-most):]))
}
