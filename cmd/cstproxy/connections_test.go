package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// sloths open connections and send next to nothing over them. One that is dropped opens another a second later.
type sloths struct {
	sync.WaitGroup
	// from is the address that they come from, if it is not the test's own.
	from    net.Addr
	open    atomic.Int64
	dropped atomic.Int64
}

// crawl keeps so many connections at the address, each of which sends begin and then a byte now and then.
func (s *sloths) crawl(ctx context.Context, address, begin string, connections int) {
	for range connections {
		s.Go(func() {
			again := time.NewTicker(time.Second)
			defer again.Stop()
			for ctx.Err() == nil {
				s.hold(ctx, address, begin)
				select {
				case <-ctx.Done():
				case <-again.C:
				}
			}
		})
	}
}

// hold returns once the connection is dropped, or ctx ends.
func (s *sloths) hold(ctx context.Context, address, begin string) {
	conn, err := (&net.Dialer{LocalAddr: s.from}).DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	s.open.Add(1)
	defer s.open.Add(-1)
	pace := time.NewTicker(300 * time.Millisecond)
	defer pace.Stop()
	for _, err = io.WriteString(conn, begin); err == nil; _, err = io.WriteString(conn, "x") {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
	}
	s.dropped.Add(1)
}

// Where the slow ones have the good client's own address, enough of them may come in a burst to turn it out before it is
// read; it then tries again, as clients do.
func TestSlowConnectionsDoNotHoldThePort(t *testing.T) {
	t.Parallel()
	elsewhere := elsewhere()
	for name, tt := range map[string]struct {
		from  net.Addr
		tries int
		begin string
	}{
		"that send nothing":             {elsewhere, 1, ""},
		"that crawl a header":           {elsewhere, 1, "GET /v1/clients/alice/token HTTP/1.1\r\nHost: h\r\nX-Slow: "},
		"that crawl a body":             {elsewhere, 1, "POST /v1/clients/alice/activity HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n{"},
		"of the good client's own host": {nil, 3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const most, many = 200, 500
			_, environ := simulated(t, portaltest.Options{AnyClient: true})
			c := serve(t, append(environ, fmt.Sprintf("CSTPROXY_MAX_CONNECTIONS=%d", most))...)
			c.mustFetch("alice", "")
			ctx, stop := context.WithCancel(t.Context())
			slow := sloths{from: tt.from}
			slow.crawl(ctx, strings.TrimPrefix(c.data, "http://"), tt.begin, many)
			await(t, "the slow ones to be many", func() bool {
				return c.series()[`cstproxy_connections_dropped_total{port="data"}`] > many/5
			})

			good := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
			served, slowest := 0, time.Duration(0)
			const asked = 30
			for range asked {
				began := time.Now()
				answer, err := getWithin(&good, c.data+"/v1/clients/alice/token", tt.tries)
				if err != nil {
					t.Errorf("a good client got %v", err)
					continue
				}
				if _ = answer.Body.Close(); answer.StatusCode == http.StatusOK {
					served++
				}
				slowest = max(slowest, time.Since(began))
				lasting(t, 50*time.Millisecond)
			}
			if ready := readiness(c); ready != http.StatusOK {
				t.Errorf("/readyz answers %d", ready)
			}
			series := c.series()
			t.Logf("%d of %d requests on connections of their own were served among %d slow ones, the slowest in %s; %v of these were dropped; %v files open",
				served, asked, slow.open.Load(), slowest, series[`cstproxy_connections_dropped_total{port="data"}`], series["process_open_fds"])
			stop()
			slow.Wait()
			if served != asked {
				t.Errorf("%d of %d requests were served", served, asked)
			}
			if dropped := series[`cstproxy_connections_dropped_total{port="admin"}`]; dropped != 0 {
				t.Errorf("%v connections to the admin port were dropped", dropped)
			}
			if files := series["process_open_fds"]; files > most+most/2 {
				t.Errorf("%v files are open, want not many more than %d connections", files, most)
			}
		})
	}
}

// elsewhere is another address of this host, where every one of 127.0.0.0/8 is one.
func elsewhere() net.Addr {
	if runtime.GOOS != "linux" {
		return nil
	}
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}
}

// getWithin gets the URL in so many tries.
func getWithin(client *http.Client, url string, tries int) (answer *http.Response, err error) {
	for range tries {
		if answer, err = client.Get(url); err == nil {
			break
		}
	}
	return answer, err
}

// A byte now and then does not keep a connection, whether or not there are many.
func TestARequestHasFiveSecondsToArrive(t *testing.T) {
	t.Parallel()
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, environ...)
	for name, begin := range map[string]string{
		"a header": "GET /v1/clients/alice/token HTTP/1.1\r\nHost: h\r\nX-Slow: ",
		"a body":   "POST /v1/clients/alice/activity HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n{",
		"nothing":  "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			new(sloths).hold(t.Context(), strings.TrimPrefix(c.data, "http://"), begin)
			if took := time.Since(began); took < 4*time.Second || took > patience {
				t.Errorf("the connection was closed after %s, want about 5s", took)
			}
		})
	}
}

func TestAHeaderThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, environ...)
	got, err := c.ask(http.MethodGet, c.data+"/v1/clients/alice/token", "", "X-Large: "+strings.Repeat("x", 21<<10))
	if err != nil || got.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("answered %d, %v, want 431", got.status, err)
	}
}

// The process may open far fewer files than it may have connections: those that it can't hold are dropped, and it still
// reaches Portal and answers on the admin port.
func TestFewFilesMeanFewConnections(t *testing.T) {
	t.Parallel()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	self, err := exec.LookPath("cstproxy")
	if err != nil {
		t.Fatal(err)
	}
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := &child{t: t, command: exec.Command(shell, "-c", `ulimit -n 200 && exec "$0" serve`, self), ended: make(chan struct{})}
	environ = append(environ, "CSTPROXY_LISTEN=127.0.0.1:0", "CSTPROXY_ADMIN_LISTEN=127.0.0.1:0")
	c.command.Env = environ
	c.launch()
	c.listening()
	ctx, stop := context.WithCancel(t.Context())
	var slow sloths
	slow.crawl(ctx, strings.TrimPrefix(c.data, "http://"), "", 300)
	await(t, "connections to be dropped", func() bool { return c.series()[`cstproxy_connections_dropped_total{port="data"}`] > 100 })
	for _, client := range clientIDs("client", 10) {
		c.mustFetch(client, "")
	}
	stop()
	slow.Wait()
	if !strings.Contains(c.written.String(), "fewer connections than set") {
		t.Error("the log does not say so")
	}
}
