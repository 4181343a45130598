package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// skipUnlessInstalled skips the test where no rival was ever installed.
func skipUnlessInstalled(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(filepath.Join("../..", rivalsFolder)); err != nil {
		t.Skip("SKIPPED: no rival is installed; .tools/rivals/install does that")
	}
}

// newRivalWorld returns a world to run rivals in.
func newRivalWorld(t *testing.T) *world {
	t.Helper()
	skipUnlessInstalled(t)
	return newTestWorld(t)
}

// eachRival runs the test with each that can run here.
func eachRival(t *testing.T, test func(t *testing.T, r rival)) {
	t.Helper()
	for _, r := range rivals() {
		t.Run(r.Name, func(t *testing.T) {
			if why := r.Missing(); why != "" {
				t.Skip("SKIPPED: " + why)
			}
			test(t, r)
		})
	}
}

// keptAlive asks over connections that are kept, as a load generator does.
func keptAlive(t *testing.T, at target) func(path string) (*http.Response, []byte) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, at.Network, at.Address)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return func(path string) (*http.Response, []byte) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(request.Header, at.Header)
		answer, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer, body
	}
}

// gets is how many GETs Redis has had.
func gets(t *testing.T, w *world) int {
	t.Helper()
	stats, err := w.Redis.Client.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`cmdstat_get:calls=(\d+)`).FindStringSubmatch(stats)
	if found == nil {
		return 0
	}
	calls, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// startRival starts it until the test ends.
func startRival(t *testing.T, w *world, r rival) *running {
	t.Helper()
	started, err := r.Start(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := started.Stop(); err != nil {
			t.Error(err)
		}
		if err := syscall.Kill(started.Processes[0], 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is there after Stop: %v", started.Processes[0], err)
		}
	})
	return started
}

func TestEachRivalAnswersTheDocumentAndNothingElse(t *testing.T) {
	w := newRivalWorld(t)
	eachRival(t, func(t *testing.T, r rival) {
		started := startRival(t, w, r)
		ask := keptAlive(t, started.Target)
		answer, body := ask(started.Target.Path)
		if answer.StatusCode != http.StatusOK || !bytes.Equal(body, w.Document) {
			t.Errorf("got %s %s\nwant %s", answer.Status, body, w.Document)
		}
		if got := answer.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("Content-Type: %s", got)
		}
		if answer.ContentLength != int64(len(w.Document)) || answer.Close {
			t.Errorf("Content-Length is %d of %d, Close %t", answer.ContentLength, len(w.Document), answer.Close)
		}
		if other, body := ask(strings.Replace(started.Target.Path, clientID, "another", 1)); other.StatusCode != http.StatusNotFound {
			t.Errorf("another client: %s %s, want 404", other.Status, body)
		}
		for _, pid := range started.Processes {
			if err := syscall.Kill(pid, 0); err != nil {
				t.Errorf("process %d: %v", pid, err)
			}
		}
	})
}

func TestRivalsAskRedisOnceARequestUnlessTheyCache(t *testing.T) {
	w := newRivalWorld(t)
	const requests = 20
	eachRival(t, func(t *testing.T, r rival) {
		started := startRival(t, w, r) // which has asked
		want := requests
		if strings.HasPrefix(r.Name, "nginx-dict") || strings.HasPrefix(r.Name, "nginx-cache") {
			want = 0
		}
		ask := keptAlive(t, started.Target)
		before := gets(t, w)
		for range requests {
			answer, body := ask(started.Target.Path)
			if !bytes.Equal(body, w.Document) {
				t.Fatalf("got %s %s", answer.Status, body)
			}
			if status := answer.Header.Get("X-Cache-Status"); strings.HasPrefix(r.Name, "nginx-cache") && status != "HIT" {
				t.Errorf("X-Cache-Status: %s", status)
			}
		}
		if got := gets(t, w) - before; got != want {
			t.Errorf("%d requests were %d GETs of Redis, want %d", requests, got, want)
		}
	})
}

func TestOauth2ProxyLetsNobodyInWithoutASession(t *testing.T) {
	w, r := newRivalWorld(t), oauth2Rival()
	if why := r.Missing(); why != "" {
		t.Skip("SKIPPED: " + why)
	}
	at := startRival(t, w, r).Target
	at.Header = nil
	if answer, body := keptAlive(t, at)(at.Path); answer.StatusCode != http.StatusForbidden {
		t.Errorf("without a cookie: %s %s, want 403", answer.Status, body)
	}
}

func TestRivalThatIsNotInstalledSaysSo(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, r := range rivals() {
		if r.Missing() == "" {
			t.Errorf("%s would start without its program", r.Name)
		}
	}
}

func TestVersionOfEachRivalIsKnown(t *testing.T) {
	skipUnlessInstalled(t)
	t.Chdir("../..")
	eachRival(t, func(t *testing.T, r rival) {
		version, err := r.Version(t.Context())
		if err != nil || !strings.ContainsAny(version, "0123456789") {
			t.Errorf("%q, %v", version, err)
		}
		t.Log(version)
	})
}
