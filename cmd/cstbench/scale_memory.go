package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"
)

// memoryFigures is the resident memory of a process, in MiB.
type memoryFigures struct {
	Idle      float64 `json:"idle"`
	IdleAlone float64 `json:"idleAlone"` // without Redis
	// Loaded is at the end of so many fetches of so many clients, more than memory holds by default unless they are few, on so
	// many connections; LoadedMost the most that there ever was until then.
	Loaded      float64 `json:"loaded"`
	LoadedMost  float64 `json:"loadedMost"`
	Clients     int     `json:"clients"`
	Fetches     int     `json:"fetches"`
	Connections int     `json:"connections"`
}

func (r *scaleRun) measureMemory(ctx context.Context) (f memoryFigures, err error) {
	f.Clients, f.Connections = min(r.size.Clients, 120_000), 64
	f.Fetches = 2 * f.Clients
	store, err := openKept(ctx, r.world)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := store.fill(ctx, f.Clients); err != nil {
		return f, err
	}
	alone, err := r.start(ctx, "idle-alone", "REDIS_URL=")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, alone.end()) }()
	shared, err := r.start(ctx, "idle")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, shared.end()) }()
	if err := pause(ctx, time.Duration(r.size.IdleSeconds)*time.Second); err != nil {
		return f, err
	}
	return f, weigh(ctx, &f, alone, shared)
}

// weigh weighs processes that are idle, one without Redis and one with it, and then the other under load.
func weigh(ctx context.Context, f *memoryFigures, alone, shared *asked) error {
	is, err := residentOf(alone.Processes[0])
	if err != nil {
		return err
	}
	f.IdleAlone = is.now
	if is, err = residentOf(shared.Processes[0]); err != nil {
		return err
	}
	f.Idle = is.now
	if err := shared.connect(ctx, f.Connections); err != nil {
		return err
	}
	if _, err := shared.fetch(f.Fetches, anyOf(f.Clients)); err != nil {
		return err
	}
	is, err = residentOf(shared.Processes[0])
	f.Loaded, f.LoadedMost = is.now, is.most
	return err
}

// resident is the memory of a process that is not on disk, in MiB: now, and the most that there ever was.
type resident struct{ now, most float64 }

func residentOf(pid int) (resident, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return resident{}, fmt.Errorf("read the memory of a process: %w", err)
	}
	now, err := kilobytes(text, "VmRSS")
	if err != nil {
		return resident{}, err
	}
	most, err := kilobytes(text, "VmHWM")
	return resident{now / 1024, most / 1024}, err
}

// kilobytes reads a line of /proc/PID/status.
func kilobytes(text []byte, field string) (float64, error) {
	found := regexp.MustCompile(`(?m)^` + field + `:\s+(\d+) kB$`).FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("the kernel does not say the %s of a process", field)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}
