package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// keyIn returns a key in use, that of a file with the content, and where its log goes.
func keyIn(t *testing.T, content string) (key *portalKey, file string, log *bytes.Buffer) {
	t.Helper()
	file, log = filepath.Join(t.TempDir(), "key"), &bytes.Buffer{}
	writeKey(t, file, content)
	config := Config{PortalAPIKey: session.NewSecret("first"), PortalAPIKeyFile: file}
	return newPortalKey(config, slog.New(slog.NewTextHandler(log, nil))), file, log
}

func writeKey(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRefusedKeyIsReadAgainFromItsFile(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ content, want, said string }{
		"another key":             {"second\n", "second", "Portal API Key read again"},
		"the same key":            {"first\n", "first", ""},
		"nothing":                 {"", "first", "not read again"},
		"a line end":              {"\n", "first", "not read again"},
		"what fits no header":     {"sec ond", "first", "not read again"},
		"two lines, so not a key": {"second\nthird\n", "first", "not read again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, _, log := keyIn(t, tc.content)
			key.reread()
			if got := key.current().Reveal(); got != tc.want {
				t.Errorf("the key is %q, want %q", got, tc.want)
			}
			if said := log.String(); (said == "") != (tc.said == "") || !strings.Contains(said, tc.said) {
				t.Errorf("the log says %q, want %q", said, tc.said)
			}
			for _, secret := range []string{"first", "second", "third"} {
				if strings.Contains(log.String(), secret) {
					t.Errorf("the log holds a key: %s", log)
				}
			}
		})
	}
}

func TestFileOfTheKeyThatIsGoneLeavesTheKey(t *testing.T) {
	t.Parallel()
	key, file, log := keyIn(t, "second")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	key.reread()
	if got := key.current().Reveal(); got != "first" || !strings.Contains(log.String(), "not read again") {
		t.Errorf("the key is %q, and the log says %q", got, log)
	}
}

func TestKeyWithoutAFileStays(t *testing.T) {
	t.Parallel()
	key := newPortalKey(Config{PortalAPIKey: session.NewSecret("first")}, slog.New(slog.DiscardHandler))
	key.reread()
	if got := key.current().Reveal(); got != "first" {
		t.Errorf("the key is %q", got)
	}
}

func TestKeyIsReadAgainOnceASecondAtTheMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key, file, _ := keyIn(t, "first")
		key.reread()
		writeKey(t, file, "second")
		time.Sleep(time.Second - 1)
		key.reread()
		if got := key.current().Reveal(); got != "first" {
			t.Errorf("the key is %q within the second", got)
		}
		time.Sleep(time.Nanosecond)
		key.reread()
		if got := key.current().Reveal(); got != "second" {
			t.Errorf("the key is %q after it", got)
		}
	})
}

func TestEverybodyWhoseKeyWasRefusedGoesOnWithTheNewOne(t *testing.T) {
	t.Parallel()
	for range 20 {
		key, _, _ := keyIn(t, "second")
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				key.reread()
				if got := key.current().Reveal(); got != "second" {
					t.Errorf("the key is %q", got)
				}
			})
		}
		group.Wait()
	}
}
