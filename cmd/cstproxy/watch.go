package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/cstproxy/cstproxy/metrics"
)

const (
	// settleTime is how long files may take to be written once they begin to change.
	settleTime = 100 * time.Millisecond
	// pollEvery is how late a change is seen at the most where the system tells of none: inotify knows no network file
	// systems, and its watches may run out.
	pollEvery = 10 * time.Second
)

// watch reads files again when they change. It watches their directories and not them: Kubernetes swaps a symbolic link
// beside them, editors put another file in their place.
type watch struct {
	log     *slog.Logger
	metrics *metrics.Metrics

	mu  sync.Mutex
	all []*watched
}

// add has take be given what the file holds, now and whenever that changed; name is how log and metrics call it. Without a
// file it does nothing. The error is that of the first time.
func (w *watch) add(name, file string, take func(content []byte) error) (*watched, error) {
	return w.addAll(name, []string{file}, func(contents [][]byte) error { return take(contents[0]) })
}

// addPair is add for two files that belong together.
func (w *watch) addPair(name string, files [2]string, take func(first, second []byte) error) (*watched, error) {
	return w.addAll(name, files[:], func(contents [][]byte) error { return take(contents[0], contents[1]) })
}

func (w *watch) addAll(name string, files []string, take func([][]byte) error) (*watched, error) {
	if files[0] == "" {
		return &watched{}, nil
	}
	added := &watched{name: name, files: files, take: take, log: w.log, count: w.metrics.Reloads(name)}
	if err := added.load(); err != nil {
		return nil, configError{[]string{err.Error()}}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, added)
	return added, nil
}

// run watches until ctx ends.
func (w *watch) run(ctx context.Context) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		w.log.WarnContext(ctx, "files can't be watched, and are polled", "every", pollEvery.String(), "error", err)
		w.follow(ctx, notices{add: func(string) error { return nil }})
		return
	}
	defer func() { _ = watcher.Close() }()
	w.follow(ctx, notices{changed: watcher.Events, lost: watcher.Errors, add: watcher.Add})
}

// notices are what the system tells of directories.
type notices struct {
	changed <-chan fsnotify.Event
	lost    <-chan error // it told too much for all to be heard
	add     func(directory string) error
}

// follow looks a moment after each change, and now and then without one.
func (w *watch) follow(ctx context.Context, told notices) {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	w.addDirectories(told)
	w.look() // what changed since it was loaded
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-told.changed:
			settled = soon(settled)
		case err := <-told.lost:
			w.log.WarnContext(ctx, "changes of files may have gone unnoticed", "error", err)
			settled = soon(settled)
		case <-settled:
			settled = nil
			w.look()
		case <-poll.C:
			w.addDirectories(told) // one may have been made anew
			w.look()
		}
	}
}

// soon returns pending, or a timer if nothing is: files that never stand still are read all the same.
func soon(pending <-chan time.Time) <-chan time.Time {
	if pending != nil {
		return pending
	}
	return time.After(settleTime)
}

func (w *watch) look() {
	for _, one := range w.list() {
		one.look()
	}
}

func (w *watch) list() []*watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all
}

// addDirectories watches the directory of each file. One that can't be watched is polled.
func (w *watch) addDirectories(told notices) {
	for _, one := range w.list() {
		for _, file := range one.files {
			_ = told.add(filepath.Dir(file))
		}
	}
}
