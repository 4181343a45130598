package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// link is a TCP proxy between a replica and Redis. While it is down it passes nothing on and closes nothing.
type link struct {
	listener net.Listener
	server   string
	down     atomic.Bool
	delay    atomic.Int64 // in ns, for each piece that is passed on

	group sync.WaitGroup
	mu    sync.Mutex
	conns []net.Conn
}

func startLink(t *testing.T, server *redistest.Server) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, server: server.Addr()}
	l.group.Go(l.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		l.cut()
		l.group.Wait()
	})
	return l
}

func (l *link) URL() string { return "redis://" + l.listener.Addr().String() }

// cut closes all connections.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
}

func (l *link) serve() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.server)
		if err != nil {
			_ = near.Close()
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, near, far)
		l.mu.Unlock()
		l.group.Go(func() { l.pass(far, near) })
		l.group.Go(func() { l.pass(near, far) })
	}
}

// pass passes on what comes until either end closes. What comes while the link is down is lost.
func (l *link) pass(to, from net.Conn) {
	defer func() { _ = to.Close() }()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if delay := l.delay.Load(); delay > 0 {
			<-time.After(time.Duration(delay))
		}
		if l.down.Load() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// lateMint has Portal answer the mint of replica 0 only when it is released. Portal may have made the token before that
// or make it only then, when whoever asked for it may have given up.
type lateMint struct {
	last              bool
	arrived, released chan struct{}
}

func (m *lateMint) wrap(replica int, portal http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if replica != 0 || r.Method != http.MethodPost {
			portal.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		if !m.last {
			portal.ServeHTTP(answer, r)
		}
		m.arrived <- struct{}{}
		<-m.released
		if m.last {
			portal.ServeHTTP(answer, r.WithContext(context.WithoutCancel(r.Context())))
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

// TestFleetServesNoDeadTokenAfterAPartition cuts the replica that mints off from Redis, so that its lease runs out and
// another mints as well. Whichever token stays, and whichever Portal killed, no dead one is served in the end.
func TestFleetServesNoDeadTokenAfterAPartition(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ killsOlder, late bool }{
		"a mint kills the older tokens, the late mint comes first to Portal": {true, false},
		"older tokens live on, the late mint comes first to Portal":          {false, false},
		"older tokens live on, the late mint comes last to Portal":           {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t)
			link := startLink(t, redis)
			mint := lateMint{last: tt.late, arrived: make(chan struct{}, 8), released: make(chan struct{})}
			f := startFleetBehind(t, 2, portaltest.Options{MintKillsOlder: tt.killsOlder}, mint.wrap, unlimited()...)
			f.replica(0).kill()
			f.start(0, "REDIS_URL="+link.URL())
			f.replica(1).kill()
			f.start(1, onRedis(redis))

			cutOff := make(chan error, 1)
			go func() {
				_, err := f.replica(0).fetch("client", "")
				cutOff <- err
			}()
			<-mint.arrived
			link.down.Store(true)
			f.replica(1).mustFetch("client", "")
			close(mint.released)
			t.Logf("the replica that was cut off answered: %v", <-cutOff)
			link.down.Store(false)
			link.cut()
			seesRedis(f.replica(0), 1)
			await(t, "one live token on both replicas", func() bool {
				a, errA := f.replica(0).fetch("client", "")
				b, errB := f.replica(1).fetch("client", "")
				return errA == nil && errB == nil && a.Secret == b.Secret && f.portal.Accepts(a.Secret)
			})
			t.Logf("Portal minted %d tokens", f.portal.Stats().Mints)
			f.expectLiveTokens([]string{"client"})
		})
	}
}

func TestFleetServesFastWhileRedisIsSlow(t *testing.T) {
	t.Parallel()
	const most = 250 * time.Millisecond
	link := startLink(t, redistest.Start(t))
	f := startFleet(t, 1, portaltest.Options{}, "REDIS_URL="+link.URL(), "CSTPROXY_MEMORY_TTL=0")
	clients := clientIDs("warm", 20)
	f.warm(clients)

	link.delay.Store(int64(time.Second))
	pace := f.fetches(clients, 4, 10*time.Millisecond)
	lasting(t, 3*time.Second)
	if _, p99, _ := pace.expectNoFailure(t); p99 > most {
		t.Errorf("99 %% of the fetches took at most %s, want %s", p99, most)
	}
	link.delay.Store(0)
	link.cut()
	seesRedis(f.replica(0), 1)
	if got := f.portal.Stats().Mints; got != len(clients) {
		t.Errorf("Portal minted %d tokens, want %d", got, len(clients))
	}
}

func TestFleetHeedsAReportOnAReplicaThatHeardNothing(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	f := startFleet(t, 2, portaltest.Options{}, unlimited(onRedis(redis))...)
	dead := f.warm([]string{"client"})["client"]
	f.portal.KillClient("client")

	const key = "cstproxy:{client}:token"
	old := redis.Do("GET", key)
	fresh := f.replica(0).mustFetch("client", "?rejected="+dead.TokenID)
	record := redis.Do("GET", key)
	redis.Do("SET", key, old)
	if got := f.replica(1).mustFetch("client", ""); got.TokenID != dead.TokenID {
		t.Fatalf("the replica remembers token %s, want %s", got.TokenID, dead.TokenID)
	}
	redis.Do("SET", key, record) // without a message

	if got := f.replica(1).mustFetch("client", "?rejected="+dead.TokenID); got.TokenID != fresh.TokenID {
		t.Errorf("got token %s, want %s", got.TokenID, fresh.TokenID)
	}
	if got := f.portal.Stats().Mints; got != 2 {
		t.Errorf("Portal minted %d tokens, want 2", got)
	}
}
