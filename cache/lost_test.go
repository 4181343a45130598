package cache_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// losses loses the next reply, one, once armed. It is safe for concurrent use.
type losses struct{ armed atomic.Bool }

func (l *losses) arm() { l.armed.Store(true) }

// take reports whether this reply is the one to lose.
func (l *losses) take() bool { return l.armed.CompareAndSwap(true, false) }

// lossyDial makes connections that are cut instead of giving the reply that gets lost.
type lossyDial struct{ losses *losses }

func (d lossyDial) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		return lossyConn{Conn: conn, losses: d.losses, asked: &atomic.Bool{}}, err
	}
}

func (d lossyDial) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (d lossyDial) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

type lossyConn struct {
	net.Conn
	losses *losses
	// asked is set while the reply to a call of the store is due: a cluster's client also asks for itself who has which
	// slots, after each reply that was lost, and that reply is not the one to lose.
	asked *atomic.Bool
}

func (c lossyConn) Write(command []byte) (int, error) {
	c.asked.Store(bytes.Contains(command, []byte("\r\nevalsha\r\n")) || bytes.Contains(command, []byte("\r\nget\r\n")))
	return c.Conn.Write(command)
}

func (c lossyConn) Read(buffer []byte) (int, error) {
	n, err := c.Conn.Read(buffer)
	if err == nil && c.asked.Load() && c.losses.take() {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

func TestCallWhoseReplyIsLostReturnsAnErrorAndIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := startProxy(t, server)
	wantOnce(t, open(t, proxy.URL(), "p"), &proxy.losses, server)
}

func TestCallWhoseReplyIsLostInAClusterReturnsAnErrorAndIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	client, _ := connect(t, cluster.URL()).(*redis.ClusterClient)
	losses := &losses{}
	client.OnNewNode(func(node *redis.Client) { node.AddHook(lossyDial{losses}) })
	store := cache.NewRedis(partsOf(client, "p", &cache.Changes{}))
	wantOnce(t, store, losses, cluster.Primaries()...)
}

// wantOnce wants a call whose reply is lost to return an error, and the servers to have carried it out once.
func wantOnce(t *testing.T, store *cache.Redis, losses *losses, servers ...*redistest.Server) {
	t.Helper()
	calls := calls(store, newToken(alice))
	for name, call := range calls {
		await(t, "Redis to know the script of "+name, func() bool { return call(t.Context()) == nil })
	}
	for name, command := range map[string]string{
		"Load": "get", "Commit": "evalsha", "Slide": "evalsha", "Forget": "evalsha", "Claim": "evalsha", "Settle": "evalsha",
		"Release": "evalsha", "Acquire": "evalsha", "Renew": "evalsha", "LetGo": "evalsha",
	} {
		reach(t, store, alice)
		await(t, "the registration's node to be reached", func() bool { return calls["Claim"](t.Context()) == nil })
		got := counted(func() {
			losses.arm()
			if err := calls[name](t.Context()); err == nil {
				t.Errorf("%s without a reply succeeded", name)
			}
		}, servers...)
		if losses.take() {
			t.Errorf("%s lost no reply", name)
		}
		if got[command] != 1 || got["eval"] != 0 {
			t.Errorf("%s was carried out so: %v; want %s once", name, got, command)
		}
	}
}

func TestSlideWhoseReplyIsLostHasMovedTheToken(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := startProxy(t, server)
	store := open(t, proxy.URL(), "p")
	token := newToken(alice)
	save(t, store, token)
	wantMatch(t, session.MatchSame)(store.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt})) // so that Redis knows the script
	token.ActiveAt = token.ActiveAt.Add(hour)
	proxy.losses.arm()
	if match, err := store.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt}); err == nil {
		t.Errorf("Slide without a reply = %v", match)
	}
	reach(t, store, alice)
	wantLoaded(t, store, alice, token)
}

func TestClaimWhoseReplyIsLostIsStillOurs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := startProxy(t, server)
	store := open(t, proxy.URL(), "p")
	claim := session.Claim{Registration: session.Registration{Key: "key"}, Owner: "me", Hold: hour}
	_, err := store.Claim(t.Context(), session.Claim{Registration: session.Registration{Key: "another"}, Hold: hour}) // so that Redis knows the script
	must(t, err)
	proxy.losses.arm()
	if client, err := store.Claim(t.Context(), claim); err == nil {
		t.Errorf("Claim without a reply = %q", client)
	}
	reach(t, store, alice)
	if client, err := store.Claim(t.Context(), claim); client != "" || err != nil {
		t.Errorf("claimed again = %q, %v; want it ours", client, err)
	}
}
