package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// volume is a directory as Kubernetes mounts a Secret or a ConfigMap: each file is a link to where ..data leads, which is
// a link itself, and is put in its place in one step.
type volume struct {
	t   *testing.T
	dir string
	n   int
}

func newVolume(t *testing.T, files map[string]string) *volume {
	t.Helper()
	v := &volume{t: t, dir: t.TempDir()}
	v.write(files)
	for name := range files {
		v.must(os.Symlink(filepath.Join("..data", name), v.path(name)))
	}
	return v
}

func (v *volume) path(name string) string { return filepath.Join(v.dir, name) }

// write replaces all files at once.
func (v *volume) write(files map[string]string) {
	v.t.Helper()
	v.n++
	fresh, before := "..version-"+strconv.Itoa(v.n), v.path("..version-"+strconv.Itoa(v.n-1))
	v.must(os.Mkdir(v.path(fresh), 0o700))
	for name, content := range files {
		v.must(os.WriteFile(filepath.Join(v.path(fresh), name), []byte(content), 0o600))
	}
	v.must(os.Symlink(fresh, v.path("..data_tmp")))
	v.must(os.Rename(v.path("..data_tmp"), v.path("..data")))
	v.must(os.RemoveAll(before))
}

func (v *volume) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

// box keeps what was taken last.
type box struct {
	mu   sync.Mutex
	text string
	n    int
}

// take takes everything but a text that ends with a question mark.
func (b *box) take(content []byte) error {
	if strings.HasSuffix(string(content), "?") {
		return errors.New("it is half")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text, b.n = string(content), b.n+1
	return nil
}

func (b *box) takePair(first, second []byte) error {
	return b.take([]byte(string(first) + "+" + string(second)))
}

func (b *box) holds(text string) func() bool {
	return func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.text == text
	}
}

// followed follows what is told until the test ends.
func followed(t *testing.T, files *watch, told notices) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); files.follow(ctx, told) }()
	t.Cleanup(func() { cancel(); <-ended })
}

// told follows what the system tells, and returns once it does.
func told(t *testing.T, files *watch) {
	t.Helper()
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = watcher.Close() })
	watched, done := context.WithCancel(t.Context()) // the directory is added again when the files are polled
	followed(t, files, notices{changed: watcher.Events, lost: watcher.Errors, add: func(directory string) error {
		defer done()
		return watcher.Add(directory)
	}})
	<-watched.Done()
}

func TestAFileIsReadAgainHoweverItIsReplaced(t *testing.T) {
	t.Parallel()
	must := func(t *testing.T, errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	write := func(file, content string) error { return os.WriteFile(file, []byte(content), 0o600) }
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, file string)
		replace func(t *testing.T, file string)
	}{
		"written where it is": {
			func(t *testing.T, file string) { must(t, write(file, "first")) },
			func(t *testing.T, file string) { must(t, write(file, "second")) },
		},
		"written bit by bit": {
			func(t *testing.T, file string) { must(t, write(file, "first")) },
			func(t *testing.T, file string) {
				opened, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
				must(t, err)
				for _, bit := range []string{"se", "co", "nd"} {
					_, err := opened.WriteString(bit)
					must(t, err)
				}
				must(t, opened.Close())
			},
		},
		"another renamed over it": {
			func(t *testing.T, file string) { must(t, write(file, "first")) },
			func(t *testing.T, file string) { must(t, write(file+"~", "second"), os.Rename(file+"~", file)) },
		},
		"removed, and made anew": {
			func(t *testing.T, file string) { must(t, write(file, "first")) },
			func(t *testing.T, file string) { must(t, os.Remove(file), write(file, "second")) },
		},
		"a link to it, led elsewhere": {
			func(t *testing.T, file string) { must(t, write(file+".1", "first"), os.Symlink(file+".1", file)) },
			func(t *testing.T, file string) {
				must(t, write(file+".2", "second"), os.Symlink(file+".2", file+"~"), os.Rename(file+"~", file))
			},
		},
		"as Kubernetes does": {
			func(t *testing.T, file string) {
				data := filepath.Join(filepath.Dir(file), "..1")
				must(t, os.Mkdir(data, 0o700), write(filepath.Join(data, filepath.Base(file)), "first"),
					os.Symlink("..1", filepath.Join(filepath.Dir(file), "..data")), os.Symlink(filepath.Join("..data", filepath.Base(file)), file))
			},
			func(t *testing.T, file string) {
				dir := filepath.Dir(file)
				must(t, os.Mkdir(filepath.Join(dir, "..2"), 0o700), write(filepath.Join(dir, "..2", filepath.Base(file)), "second"),
					os.Symlink("..2", filepath.Join(dir, "..data_tmp")), os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")),
					os.RemoveAll(filepath.Join(dir, "..1")))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "secret")
			tc.prepare(t, file)
			files, log := watching()
			var held box
			if _, err := files.add("secret", file, held.take); err != nil || !held.holds("first")() {
				t.Fatalf("at first: %v, %q", err, held.text)
			}
			told(t, files)
			began := time.Now()
			tc.replace(t, file)
			await(t, "the change", held.holds("second"))
			if took := time.Since(began); took > pollEvery/2 {
				t.Errorf("it took %s: nobody was told", took)
			}
			const line = "changed file in use"
			await(t, "the line in the log", func() bool { return strings.Contains(log.String(), line) }) // it comes after the change
			if said := log.String(); strings.Count(said, line) != 1 || strings.Contains(said, "second") {
				t.Errorf("the log says %q", said)
			}
		})
	}
}

func TestAChangeThatNobodyTellsOfIsSeenAllTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newVolume(t, map[string]string{"secret": "first"})
		files, _ := watching()
		var held box
		if _, err := files.add("secret", v.path("secret"), held.take); err != nil {
			t.Fatal(err)
		}
		followed(t, files, notices{add: func(string) error { return errors.New("no watch is left") }})
		synctest.Wait()
		v.write(map[string]string{"secret": "second"})
		time.Sleep(pollEvery - 1)
		synctest.Wait()
		if !held.holds("first")() {
			t.Error("the change was seen without a look")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !held.holds("second")() {
			t.Errorf("%q is in use after %s", held.text, pollEvery)
		}
	})
}

func TestADirectoryThatIsMadeAnewIsWatchedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newVolume(t, map[string]string{"secret": "first"})
		files, _ := watching()
		if _, err := files.add("secret", v.path("secret"), new(box).take); err != nil {
			t.Fatal(err)
		}
		var added []string
		followed(t, files, notices{add: func(directory string) error { added = append(added, directory); return nil }})
		time.Sleep(2*pollEvery + 1)
		synctest.Wait()
		if len(added) != 3 || added[2] != v.dir {
			t.Errorf("watched %q", added)
		}
	})
}

// Whoever writes without end does not keep the rest from being read: each write puts nothing off.
func TestFilesThatNeverStandStillAreReadAllTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newVolume(t, map[string]string{"secret": "first"})
		files, log := watching()
		var held box
		if _, err := files.add("secret", v.path("secret"), held.take); err != nil {
			t.Fatal(err)
		}
		changed, lost := make(chan fsnotify.Event), make(chan error)
		followed(t, files, notices{changed: changed, lost: lost, add: func(string) error { return nil }})
		synctest.Wait()
		v.write(map[string]string{"secret": "second"})
		for range 9 {
			changed <- fsnotify.Event{}
			time.Sleep(settleTime / 10)
		}
		if !held.holds("first")() {
			t.Error("it was read while it was being written")
		}
		changed <- fsnotify.Event{}
		time.Sleep(settleTime / 10)
		synctest.Wait()
		if !held.holds("second")() {
			t.Errorf("%q is in use after %s", held.text, settleTime)
		}
		v.write(map[string]string{"secret": "third"})
		lost <- fsnotify.ErrEventOverflow
		time.Sleep(settleTime)
		synctest.Wait()
		if !held.holds("third")() || !strings.Contains(log.String(), "may have gone unnoticed") {
			t.Errorf("%q is in use after the system lost count, and the log says %s", held.text, log)
		}
	})
}

func TestWhatCanNotBeUsedLeavesTheLastGoodOneAndIsSaidOnce(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(v *volume){
		"half":       func(v *volume) { v.write(map[string]string{"one": "hunter2?", "two": "hunter2?"}) },
		"empty":      func(v *volume) { v.write(map[string]string{"one": "", "two": ""}) },
		"blank":      func(v *volume) { v.write(map[string]string{"one": "hunter2", "two": " \n"}) },
		"gone":       func(v *volume) { v.write(nil) },
		"one gone":   func(v *volume) { v.write(map[string]string{"one": "hunter2"}) },
		"unreadable": func(v *volume) { v.write(nil); v.must(os.Mkdir(filepath.Join(v.dir, "..data", "one"), 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVolume(t, map[string]string{"one": "a", "two": "b"})
			files, log := watching()
			var pair, single box
			if _, err := files.addPair("pair", [2]string{v.path("one"), v.path("two")}, pair.takePair); err != nil {
				t.Fatal(err)
			}
			if _, err := files.add("single", v.path("one"), single.take); err != nil {
				t.Fatal(err)
			}
			spoil(v)
			for range 3 {
				files.look()
			}
			if !pair.holds("a+b")() {
				t.Errorf("%q is in use", pair.text)
			}
			said := log.String()
			if n := strings.Count(said, "file=pair"); n != 1 || !strings.Contains(said, "the last good one stays in use") || strings.Contains(said, "hunter2") {
				t.Errorf("the log says of it %d times: %s", n, said)
			}
			v.write(map[string]string{"one": "c", "two": "d"})
			files.look()
			if !pair.holds("c+d")() || !single.holds("c")() {
				t.Errorf("%q and %q are in use after it was mended", pair.text, single.text)
			}
		})
	}
}

func TestFilesThatBelongTogetherAreOfOneTime(t *testing.T) {
	t.Parallel()
	v := newVolume(t, map[string]string{"one": "0", "two": "0"})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Microsecond):
				v.write(map[string]string{"one": strconv.Itoa(i), "two": strconv.Itoa(i)})
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	read := 0
	await(t, "1000 good readings", func() bool {
		for range 50 {
			contents, err := readStable([]string{v.path("one"), v.path("two")})
			if err != nil {
				continue
			}
			read++
			if string(contents[0]) != string(contents[1]) {
				t.Errorf("read %s and %s", contents[0], contents[1])
			}
		}
		return read >= 1000
	})
}

func TestAFileMustBeGoodAtTheStart(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"half": "hunter2?", "empty": "", "blank": "\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, _ := watching()
			_, err := files.add("secret", writeFile(t, content), new(box).take)
			if _, ok := errors.AsType[configError](err); !ok || !strings.HasPrefix(err.Error(), "secret: ") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWithoutAFileThereIsNothingToRead(t *testing.T) {
	t.Parallel()
	files, log := watching()
	var held box
	added, err := files.add("secret", "", held.take)
	if err != nil {
		t.Fatal(err)
	}
	added.reread()
	files.look()
	if held.n != 0 || log.String() != "" || len(files.list()) != 0 {
		t.Errorf("%d readings, and the log says %q", held.n, log)
	}
}

func TestWhatStandsInPlaceOfAPathIsNotShown(t *testing.T) {
	t.Parallel()
	files, _ := watching()
	for _, secret := range []string{"-----BEGIN PRIVATE KEY-----\nhunter2/\n", "/a\nhunter2", "ab/hunter2==", `{"key":"./hunter2"}`} {
		_, err := files.addPair("pair", [2]string{writeFile(t, "certificate"), secret}, (&box{}).takePair)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want an error without %q", err, secret)
		}
	}
}

// A callers file names files of issuers, which may come after it.
func TestWhatCouldNotBeUsedIsTriedAgain(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "first")
	files, log := watching()
	var wanting error
	used := ""
	_, err := files.add("single", file, func(content []byte) error {
		if wanting == nil {
			used = string(content)
		}
		return wanting
	})
	if err != nil {
		t.Fatal(err)
	}
	wanting = errors.New("another file is missing")
	writeKey(t, file, "second")
	files.look()
	files.look()
	if n := strings.Count(log.String(), "another file is missing"); used != "first" || n != 1 {
		t.Errorf("%q is in use, and the log says %d times that something is missing", used, n)
	}
	wanting = nil
	files.look()
	if used != "second" {
		t.Errorf("%q is in use once nothing is missing", used)
	}
}
