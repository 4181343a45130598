package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// outcome is how one request in flight ended.
type outcome struct {
	client string
	answer answer
	err    error
}

// fly makes a request for each client, of which Portal answers none yet, and returns once all have reached it.
func fly(t *testing.T, c *child, portal *portaltest.Portal, clients []string) <-chan outcome {
	t.Helper()
	portal.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Hang})
	landed := make(chan outcome, len(clients))
	for _, client := range clients {
		go func() {
			got, err := c.ask(http.MethodGet, c.data+"/v1/clients/"+client+"/token", "")
			landed <- outcome{client, got, err}
		}()
	}
	await(t, "the requests to reach Portal", func() bool { return len(portal.Arrivals(portaltest.Mint)) == len(clients) })
	return landed
}

func readiness(c *child) int { return c.get(c.admin + "/readyz").status }

// healthcheck returns what an exec probe would see.
func healthcheck(c *child) int {
	return finish(c.t, []string{"CSTPROXY_ADMIN_LISTEN=" + strings.TrimPrefix(c.admin, "http://")}, "healthcheck")
}

func TestNoRequestInFlightIsLostToASignal(t *testing.T) {
	t.Parallel()
	portal, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, environ...)
	clients := clientIDs("client", 50)
	landed := fly(t, c, portal, clients)
	if ready, code := readiness(c), healthcheck(c); ready != http.StatusOK || code != exitDone {
		t.Errorf("before the signal /readyz answers %d and healthcheck exits %d, want 200 and 0", ready, code)
	}

	c.signal(syscall.SIGTERM)
	await(t, "/readyz to answer 503", func() bool { return readiness(c) == http.StatusServiceUnavailable })
	if code := healthcheck(c); code != exitFailed {
		t.Errorf("while draining healthcheck exits %d, want 1", code)
	}
	if len(landed) > 0 {
		t.Errorf("%d requests were answered before Portal was", len(landed))
	}
	portal.ClearFaults()

	for range clients {
		checkServed(t, <-landed)
	}
	if state := c.wait(); state.ExitCode() != exitDone {
		t.Errorf("the process ended with %s, want exit code 0", state)
	}
}

func checkServed(t *testing.T, o outcome) {
	t.Helper()
	if o.err != nil {
		t.Errorf("%s lost its request: %v", o.client, o.err)
		return
	}
	if got, err := o.answer.token(); err != nil || got.ID != o.client || got.Secret == "" {
		t.Errorf("%s got a token of %q, error %v", o.client, got.ID, err)
	}
}

func TestASecondSignalEndsTheProcessAtOnce(t *testing.T) {
	t.Parallel()
	portal, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, environ...)
	fly(t, c, portal, clientIDs("client", 1))

	c.signal(syscall.SIGTERM)
	await(t, "/readyz to answer 503", func() bool { return readiness(c) == http.StatusServiceUnavailable })
	second := time.Now()
	await(t, "the process to end", func() bool {
		c.signal(syscall.SIGTERM)
		return c.hasEnded()
	})

	if took := time.Since(second); took > drainTime/2 {
		t.Errorf("the process took %s to end", took)
	}
	if status, _ := c.wait().Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("the process ended with %s, want it ended by the signal", c.command.ProcessState)
	}
}

func TestWhatDoesNotFinishInTimeIsToldToGoElsewhere(t *testing.T) {
	t.Parallel()
	portal, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, append(environ, "CSTPROXY_PORTAL_TIMEOUT=1m")...)
	clients := clientIDs("client", 5)
	landed := fly(t, c, portal, clients)

	c.signal(syscall.SIGTERM)

	for range clients {
		o := <-landed
		if o.err != nil {
			t.Errorf("%s lost its request: %v", o.client, o.err)
			continue
		}
		told := o.answer.status == http.StatusServiceUnavailable && strings.Contains(string(o.answer.body), `"code":"shutting_down"`)
		if !told || o.answer.header.Get("Retry-After") == "" {
			t.Errorf("%s got %d with Retry-After %q: %s", o.client, o.answer.status, o.answer.header.Get("Retry-After"), o.answer.body)
		}
	}
	if state := c.wait(); state.ExitCode() != exitDone {
		t.Errorf("the process ended with %s, want exit code 0", state)
	}
}
