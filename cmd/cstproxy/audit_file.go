package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

const (
	// lookAgain is how long lines may still go to a file that was renamed.
	lookAgain = time.Second
	// auditMode is for the one who runs the proxy: lines say who uses which wallet.
	auditMode = 0o600
)

// appendFile appends lines to a file, whatever file has the name: one that was renamed or removed is left, another made.
// It is safe for concurrent use.
type appendFile struct {
	path string

	mu     sync.Mutex
	file   *os.File
	looked time.Time
	// torn: the last line was not written to its end, so that the next must begin a new one.
	torn bool
}

func openAppend(path string) (*appendFile, error) {
	f := &appendFile{path: path}
	if err := f.reopen(); err != nil {
		return nil, fmt.Errorf("open the audit: %w", err)
	}
	return f, nil
}

// Write appends a line. When it returns, the operating system has it.
func (f *appendFile) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.look(time.Now()); err != nil {
		return 0, err
	}
	text := line
	if f.torn {
		text = append([]byte{'\n'}, line...)
	}
	n, err := f.file.Write(text)
	if err != nil {
		f.torn = f.torn || n > 0
		return min(n, len(line)), err
	}
	f.torn = false
	return len(line), nil
}

// look finds out, once in a while, whether the name is another file's by now, or nobody's.
func (f *appendFile) look(now time.Time) error {
	if now.Sub(f.looked) < lookAgain {
		return nil
	}
	named, err := os.Stat(f.path)
	if err == nil {
		own, statErr := f.file.Stat()
		if statErr == nil && os.SameFile(named, own) {
			f.looked = now
			return nil
		}
	}
	return f.open(now)
}

func (f *appendFile) reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open(time.Now())
}

// open takes whatever has the name. If that can't be opened, the next line tries again.
func (f *appendFile) open(now time.Time) error {
	f.looked = time.Time{}
	if info, err := os.Stat(f.path); err == nil && info.Mode().Type() == fs.ModeNamedPipe {
		return &fs.PathError{Op: "open", Path: f.path, Err: errors.New("is a pipe")} // it would wait for a reader
	}
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, auditMode)
	if err != nil {
		return err
	}
	if f.file != nil {
		_ = f.file.Close()
	}
	if info, err := file.Stat(); err == nil && info.Size() == 0 {
		f.torn = false
	}
	f.file, f.looked = file, now
	return nil
}

func (f *appendFile) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}
