package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	// rereadEvery is how often a secret that was refused is looked for anew: as often as a pause for it may end.
	rereadEvery = time.Second
	// readTimes bounds how often files are read that change meanwhile.
	readTimes = 5
)

var errEmpty = errors.New("it is empty")

// watched is what one or more files hold together. What can't be read or used leaves the last good content in use. The zero
// watched has no file, and nothing to do. It is safe for concurrent use.
type watched struct {
	name  string // in the log and the metrics: of a closed set
	files []string
	// take puts the contents into use, all of them or none. Its error holds nothing of them.
	take  func(contents [][]byte) error
	log   *slog.Logger
	count func(error)

	// reading lets who comes meanwhile wait for what is read.
	reading sync.Mutex
	// last is a hash of what was read last, used or not: what is the same again is not news.
	last [sha256.Size]byte
	// unused: what was read last could not be used. That may change without it, as when it names another file.
	unused bool
	// next is when somebody who was refused may have the files read again.
	next time.Time
}

// load reads the files for the first time.
func (w *watched) load() error {
	w.reading.Lock()
	defer w.reading.Unlock()
	contents, err := readStable(w.files)
	w.last = fingerprint(contents, err)
	if err == nil {
		err = w.take(contents)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	return nil
}

// look reads the files again, and has them used if they changed.
func (w *watched) look() {
	w.reading.Lock()
	defer w.reading.Unlock()
	w.read()
}

// reread is look for who was refused with what is in use: at once, but once a second at the most.
func (w *watched) reread() {
	w.reading.Lock()
	defer w.reading.Unlock()
	now := time.Now()
	if now.Before(w.next) {
		return
	}
	w.next = now.Add(rereadEvery)
	w.read()
}

func (w *watched) read() {
	if len(w.files) == 0 {
		return
	}
	contents, err := readStable(w.files)
	seen := fingerprint(contents, err)
	news := seen != w.last
	if !news && (err != nil || !w.unused) {
		return
	}
	w.last = seen
	if err == nil {
		err = w.take(contents)
	}
	w.unused = err != nil
	if err != nil && !news {
		return // it is said already
	}
	w.count(err)
	if err != nil {
		w.log.Error("changed file not used: the last good one stays in use", "file", w.name, "error", err)
		return
	}
	w.log.Info("changed file in use", "file", w.name)
}

// readStable reads the files until two readings agree, so that none is of another time than the others.
func readStable(files []string) (contents [][]byte, err error) {
	contents, err = readAll(files)
	for range readTimes {
		again, errAgain := readAll(files)
		if fingerprint(again, errAgain) == fingerprint(contents, err) {
			break
		}
		contents, err = again, errAgain
	}
	return contents, err
}

// readAll reads the files. An empty one is an error: it is about to be written.
func readAll(files []string) ([][]byte, error) {
	contents := make([][]byte, 0, len(files))
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err == nil && len(bytes.TrimSpace(content)) == 0 {
			err = errEmpty
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", showPath(file), withoutPath(err))
		}
		contents = append(contents, content)
	}
	return contents, nil
}

// fingerprint returns a hash of what was read, or of why nothing was.
func fingerprint(contents [][]byte, err error) [sha256.Size]byte {
	if err != nil {
		return sha256.Sum256([]byte(err.Error()))
	}
	parts := make([]byte, 0, len(contents)*sha256.Size)
	for _, content := range contents {
		part := sha256.Sum256(content)
		parts = append(parts, part[:]...)
	}
	return sha256.Sum256(parts)
}
