package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// pooled asks over one connection as long as that is left open, and repeats nothing: a request that gets no answer is lost.
type pooled struct {
	address string
	conn    net.Conn
	reader  *bufio.Reader
	opened  int
}

// fetch asks as a backend asks Portal itself, which no HTTP client may repeat by itself.
func (p *pooled) fetch(client string) error {
	if p.conn == nil {
		conn, err := net.DialTimeout("tcp", p.address, patience)
		if err != nil {
			return err
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		p.conn, p.reader = conn, bufio.NewReader(conn)
		p.opened++
	}
	const request = "POST /api/v1/custodians/clients/%s/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
	if _, err := fmt.Fprintf(p.conn, request, client); err != nil {
		return err
	}
	response, err := http.ReadResponse(p.reader, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %s", response.StatusCode, body)
	}
	if response.Close {
		p.close()
	}
	return nil
}

func (p *pooled) close() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}

func TestNothingIsLostWhileReadinessIsStillBelieved(t *testing.T) {
	t.Parallel()
	const delay, callers, late = 2 * time.Second, 20, 10
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, append(environ, "CSTPROXY_DRAIN_DELAY="+delay.String())...)
	address := strings.TrimPrefix(c.data, "http://")
	idle := &pooled{address: address}
	defer idle.close()
	if err := idle.fetch("client-idle"); err != nil {
		t.Fatal(err)
	}

	var draining atomic.Bool
	var early atomic.Int64
	var group errgroup.Group
	for _, client := range clientIDs("client", callers) {
		group.Go(func() error {
			busy := &pooled{address: address}
			defer busy.close()
			for after := 0; after < late; {
				if draining.Load() {
					after++
				} else {
					early.Add(1)
				}
				if err := busy.fetch(client); err != nil {
					return fmt.Errorf("%s lost a request, its %d. after /readyz said 503: %w", client, after, err)
				}
			}
			if busy.opened < late {
				return fmt.Errorf("%s opened %d connections, want one for each of its late requests", client, busy.opened)
			}
			return nil
		})
	}
	await(t, "each caller to ask", func() bool { return early.Load() > 4*callers })
	began := time.Now()
	c.signal(syscall.SIGTERM)
	await(t, "/readyz to answer 503", func() bool { return readiness(c) == http.StatusServiceUnavailable })
	draining.Store(true)

	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	if err := idle.fetch("client-idle"); err != nil || idle.conn != nil {
		t.Errorf("on a connection from before the drain: error %v, it is still open: %t", err, idle.conn != nil)
	}
	if state := c.wait(); state.ExitCode() != exitDone {
		t.Errorf("the process ended with %s, want exit code 0", state)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("the process ended %s after the signal, want %s at least", took, delay)
	}
}

func TestASecondSignalEndsTheDelayAsWell(t *testing.T) {
	t.Parallel()
	_, environ := simulated(t, portaltest.Options{})
	c := serve(t, append(environ, "CSTPROXY_DRAIN_DELAY=5m")...)

	c.signal(syscall.SIGTERM)
	await(t, "/readyz to answer 503", func() bool { return readiness(c) == http.StatusServiceUnavailable })
	await(t, "the process to end", func() bool {
		c.signal(syscall.SIGTERM)
		return c.hasEnded()
	})

	if status, _ := c.wait().Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("the process ended with %s, want it ended by the signal", c.command.ProcessState)
	}
}
