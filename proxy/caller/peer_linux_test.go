package caller_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/caller"
)

// identified serves on listener and returns whom a request over it turns out to be; "" for nobody.
func identified(t *testing.T, listener net.Listener, entry string) string {
	t.Helper()
	callers, err := caller.New([]byte("callers: ["+entry+"]\n"), caller.Parts{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	who := make(chan string, 1)
	server := &http.Server{ConnContext: caller.ConnContext, ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		found, _ := callers.Identify(r)
		who <- found.Name
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, listener.Addr().Network(), listener.Addr().String())
	}}}
	answer, err := client.Get("http://localhost/")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return <-who
}

func listen(t *testing.T, network string) net.Listener {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func entryOf(uid int) string {
	return fmt.Sprintf("{name: peer, uids: [%d], routes: [token], clients: [a]}", uid)
}

// wrapping hands out connections that only say by NetConn what is within, as those of TLS do.
type wrapping struct{ net.Listener }

func (l wrapping) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return wrapped{conn}, nil
}

type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

var _ interface{ NetConn() net.Conn } = (*tls.Conn)(nil)

func TestUserAtTheOtherEndOfASocketTellsWhoItIs(t *testing.T) {
	t.Parallel()
	own := os.Getuid()
	for name, c := range map[string]struct {
		listener func() net.Listener
		uid      int
		want     string
	}{
		"the user who is listed":     {func() net.Listener { return listen(t, "unix") }, own, "peer"},
		"another user":               {func() net.Listener { return listen(t, "unix") }, own + 1, ""},
		"within another connection":  {func() net.Listener { return wrapping{listen(t, "unix")} }, own, "peer"},
		"the same user over TCP":     {func() net.Listener { return listen(t, "tcp") }, own, ""},
		"nobody's number, over TCP":  {func() net.Listener { return listen(t, "tcp") }, 65534, ""},
		"the highest number, by TCP": {func() net.Listener { return listen(t, "tcp") }, 1<<32 - 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := identified(t, c.listener(), entryOf(c.uid)); got != c.want {
				t.Errorf("it is %q, want %q", got, c.want)
			}
		})
	}
}
