package main

import (
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// answering serves over network until the test ends.
func answering(t *testing.T, network string, handler http.HandlerFunc) target {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return target{Network: network, Address: listener.Addr().String(), Path: "/a"}
}

func anyBody(int, []byte) error { return nil }

func TestEveryRequestIsCountedOnce(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for name, rate := range map[string]float64{"closed loop": 0, "open loop": 2000} {
			t.Run(network+", "+name, func(t *testing.T) {
				var served atomic.Int64
				begun, ended, warmed := 0, 0, int64(0)
				at := answering(t, network, func(w http.ResponseWriter, _ *http.Request) { served.Add(1); _, _ = w.Write([]byte("b")) })
				got, err := traffic{
					Target: at, Connections: 7, Warm: 20 * time.Millisecond, Length: 50 * time.Millisecond, Rate: rate, Check: anyBody,
					Begin: func() { begun++; warmed = served.Load() }, End: func() { ended++ },
				}.run()
				if err != nil {
					t.Fatal(err)
				}
				if int64(got.Requests) != served.Load() || int64(got.Timed) != served.Load()-warmed || got.Latency.TotalCount() != int64(got.Timed) {
					t.Errorf("%d requests, %d timed, %d in the histogram, and %d were served", got.Requests, got.Timed, got.Latency.TotalCount(), served.Load())
				}
				if warmed <= 7 {
					t.Errorf("%d requests warmed 7 connections up", warmed)
				}
				if rate > 0 && got.Timed != 100 || got.Within > got.Timed || begun != 1 || ended != 1 {
					t.Errorf("%d timed, %d within, begun %d times, ended %d times", got.Timed, got.Within, begun, ended)
				}
			})
		}
	}
}

// A server that stalls keeps one request of a closed loop waiting. In an open loop all that were meant to leave meanwhile have
// waited too.
func TestStallShowsInTheOpenLoop(t *testing.T) {
	const stall, length, rate = 200 * time.Millisecond, 400 * time.Millisecond, 500.0
	late := func(rate float64) (part float64) {
		var served atomic.Int64
		at := answering(t, "tcp", func(w http.ResponseWriter, _ *http.Request) {
			if served.Add(1) == 5 {
				<-time.After(stall)
			}
			_, _ = w.Write([]byte("b"))
		})
		got, err := traffic{Target: at, Connections: 1, Length: length, Rate: rate, Check: anyBody}.run()
		if err != nil {
			t.Fatal(err)
		}
		slow := 0
		for _, bracket := range got.Latency.Distribution() {
			if bracket.From >= int64(stall/10) {
				slow += int(bracket.Count)
			}
		}
		return float64(slow) / float64(got.Timed)
	}
	if part := late(rate); part < 0.25 {
		t.Errorf("a stall of half the time made %.3f of an open loop's requests late", part)
	}
	if part := late(0); part > 0.05 {
		t.Errorf("the closed loop is not the one that hides it: %.3f were late", part)
	}
}

func TestOpenLoopBeyondWhatIsServedCountsWhatNeverLeft(t *testing.T) {
	at := answering(t, "tcp", func(w http.ResponseWriter, _ *http.Request) {
		<-time.After(20 * time.Millisecond)
		_, _ = w.Write([]byte("b"))
	})
	got, err := traffic{Target: at, Connections: 1, Length: 100 * time.Millisecond, Rate: 10_000, Check: anyBody}.run()
	if err != nil {
		t.Fatal(err)
	}
	if got.Unanswered == 0 || got.Timed != 1000 || got.Latency.ValueAtQuantile(50) < int64(time.Second) {
		t.Errorf("%d never left of %d, half waited less than %s", got.Unanswered, got.Timed, time.Duration(got.Latency.ValueAtQuantile(50)))
	}
}

func TestAnswerThatIsNotTheRightOneEndsTheRun(t *testing.T) {
	wrong := errors.New("wrong")
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    error
	}{
		"its body":       {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("c")) }, wrong},
		"its status":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, errNotOK},
		"its connection": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, errClosed},
	} {
		t.Run(name, func(t *testing.T) {
			check := func(_ int, body []byte) error {
				if string(body) != "b" {
					return wrong
				}
				return nil
			}
			_, err := traffic{Target: answering(t, "tcp", c.handler), Connections: 2, Length: time.Second, Check: check}.run()
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestPathsAreAskedInTurn(t *testing.T) {
	at := answering(t, "tcp", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.URL.Path + r.Header.Get("X-A"))) })
	at.Header = http.Header{"X-A": {"1"}}
	paths := []string{"/0", "/1", "/2"}
	seen := map[int]int{}
	got, err := traffic{
		Target: at, Connections: 2, Length: 20 * time.Millisecond, Paths: paths,
		Check: func(path int, body []byte) error {
			seen[path]++
			if string(body) != paths[path]+"1" {
				return errBody
			}
			return nil
		},
	}.run()
	if err != nil {
		t.Fatal(err)
	}
	for path := range paths {
		if n := seen[path]; n < got.Requests/3 || n > got.Requests/3+1 {
			t.Errorf("of %d requests %d were for %s", got.Requests, n, paths[path])
		}
	}
}
