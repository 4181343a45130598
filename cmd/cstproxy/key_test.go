package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// watching returns a watch, and where its log goes.
func watching() (files *watch, log *transcript) {
	log = &transcript{}
	return &watch{log: slog.New(slog.NewTextHandler(log, nil)), metrics: metrics.New(metrics.Parts{})}, log
}

// keyIn returns a key in use, that of a file, and where its log goes. Portal accepts those in accepted.
func keyIn(t *testing.T, accepted ...string) (key *portalKey, file string, log *transcript) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "key")
	writeKey(t, file, "first")
	files, log := watching()
	key, err := newPortalKey(Config{PortalAPIKey: session.NewSecret("first"), PortalAPIKeyFile: file}, files)
	if err != nil {
		t.Fatal(err)
	}
	key.check = func(_ context.Context, other session.Secret) error {
		for _, good := range accepted {
			if other.Equal(session.NewSecret(good)) {
				return nil
			}
		}
		return session.ErrPortalUnauthorized
	}
	return key, file, log
}

func writeKey(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func wantKey(t *testing.T, key *portalKey, want string) {
	t.Helper()
	if got := key.current().Reveal(); got != want {
		t.Errorf("the key is %q, want %q", got, want)
	}
}

func TestRefusedKeyIsReadAgainFromItsFile(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ content, want, said string }{
		"another key":             {"second\n", "second", "changed file in use"},
		"the same key":            {"first", "first", ""},
		"nothing":                 {"", "first", "not used"},
		"a line end":              {"\n", "first", "not used"},
		"what fits no header":     {"sec ond", "first", "not used"},
		"two lines, so not a key": {"second\nthird\n", "first", "not used"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, file, log := keyIn(t)
			writeKey(t, file, tc.content)
			key.reread()
			wantKey(t, key, tc.want)
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
	key, file, log := keyIn(t)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	key.reread()
	wantKey(t, key, "first")
	if !strings.Contains(log.String(), "not used") {
		t.Errorf("the log says %q", log)
	}
}

func TestKeyWithoutAFileStays(t *testing.T) {
	t.Parallel()
	files, _ := watching()
	key, err := newPortalKey(Config{PortalAPIKey: session.NewSecret("first")}, files)
	if err != nil {
		t.Fatal(err)
	}
	key.reread()
	wantKey(t, key, "first")
}

func TestKeyIsReadAgainOnceASecondAtTheMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key, file, _ := keyIn(t)
		key.reread()
		writeKey(t, file, "second")
		time.Sleep(time.Second - 1)
		key.reread()
		wantKey(t, key, "first")
		time.Sleep(time.Nanosecond)
		key.reread()
		wantKey(t, key, "second")
	})
}

func TestEverybodyWhoseKeyWasRefusedGoesOnWithTheNewOne(t *testing.T) {
	t.Parallel()
	for range 20 {
		key, file, _ := keyIn(t)
		writeKey(t, file, "second")
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				key.reread()
				wantKey(t, key, "second")
			})
		}
		group.Wait()
	}
}

func TestKeyThatTakesOverIsOneThatPortalAccepts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		next     string
		accepted []string
		refused  string
		want     string
	}{
		"the next":                       {"next", []string{"next"}, "second", "next"},
		"the next before the former":     {"next", []string{"first", "next"}, "second", "next"},
		"the former, for half a key":     {"", []string{"first"}, "second", "first"},
		"none, if none is accepted":      {"next", nil, "second", "second"},
		"none, if it was another's turn": {"next", []string{"next"}, "first", "second"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, file, log := keyIn(t, tc.accepted...)
			writeKey(t, file, "second")
			key.reread()
			if tc.next != "" {
				key.next = session.NewSecret(tc.next)
			}
			key.succeed(t.Context(), session.NewSecret(tc.refused))
			wantKey(t, key, tc.want)
			if took := tc.want != "second"; took != strings.Contains(log.String(), "another took over") {
				t.Errorf("the log says %q", log)
			}
		})
	}
}

func TestKeyThatTookOverStaysUntilItsFileChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key, file, _ := keyIn(t, "next")
		if err := secretLine(never(key.takeNext))([]byte("next\n")); err != nil {
			t.Fatal(err)
		}
		key.succeed(t.Context(), session.NewSecret("first"))
		wantKey(t, key, "next")
		time.Sleep(time.Minute)
		key.reread() // the file holds the key that was refused
		wantKey(t, key, "next")
		writeKey(t, file, "third")
		time.Sleep(time.Minute)
		key.reread()
		wantKey(t, key, "third")
	})
}

func TestPortalIsAskedAboutOtherKeysOnceASecondAtTheMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key, _, _ := keyIn(t)
		asked := 0
		key.next = session.NewSecret("next")
		key.check = func(context.Context, session.Secret) error { asked++; return errors.New("refused") }
		for range 10 {
			key.succeed(t.Context(), session.NewSecret("first"))
		}
		time.Sleep(time.Second)
		key.succeed(t.Context(), session.NewSecret("first"))
		if asked != 2 {
			t.Errorf("Portal was asked %d times", asked)
		}
	})
}

func TestNextKeyFromAFileMustBeOne(t *testing.T) {
	t.Parallel()
	key, _, _ := keyIn(t)
	for _, content := range []string{"", "\n", "a b", "\xff"} {
		if err := secretLine(never(key.takeNext))([]byte(content)); err == nil || !key.next.IsZero() {
			t.Errorf("%q is taken: %v", content, err)
		}
		if err := secretLine(never(key.take))([]byte(content)); err == nil {
			t.Errorf("%q is taken", content)
		}
	}
	wantKey(t, key, "first")
}

// Between the reading of the settings and that of the watch a file may change.
func TestWhoIsToldOfKeysIsToldOfThoseThatThereAre(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	writeKey(t, file, "second")
	files, _ := watching()
	key, err := newPortalKey(Config{PortalAPIKey: session.NewSecret("first"), PortalAPIKeyFile: file}, files)
	if err != nil {
		t.Fatal(err)
	}
	var told []session.Secret
	key.tellTo(func(keys []session.Secret) { told = keys })
	if len(told) == 0 || told[0].Reveal() != "second" {
		t.Errorf("told of %d keys, want the one in use first", len(told))
	}
}
