package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// Not parallel: it counts goroutines.
func TestServeEndsAllThatItBegan(t *testing.T) {
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	redis := redistest.Start(t)
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var said transcript
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, process{
			args: []string{"cstproxy", "serve"}, out: &said, err: &said, clock: time.Now,
			environ: append(environ, "CSTPROXY_LISTEN=127.0.0.1:0", "CSTPROXY_ADMIN_LISTEN=127.0.0.1:0", onRedis(redis)),
		})
	}()
	var found []string
	await(t, "the proxy to serve", func() bool {
		found = servingLine.FindStringSubmatch(said.String())
		return found != nil
	})
	c := &child{t: t, client: &http.Client{Transport: &http.Transport{}, Timeout: patience}, data: "http://" + found[1]}
	for _, client := range clientIDs("client", 5) {
		c.mustFetch(client, "")
	}
	redis.Kill()
	c.mustFetch("cold", "")
	c.client.CloseIdleConnections()
	cancel()
	if code := <-ended; code != exitDone {
		t.Errorf("serve ended with %d", code)
	}
	goleak.VerifyNone(t, before)
}

// Not parallel: it counts goroutines.
func TestTheDemoEndsAllThatItBegan(t *testing.T) {
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var said transcript
	admin := fmt.Sprintf("127.0.0.1:%d", freePort())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, process{
			args: []string{"cstproxy", "demo", "--listen", fmt.Sprintf("127.0.0.1:%d", freePort()), "--admin-listen", admin},
			out:  &said, err: &said, clock: time.Now,
		})
	}()
	asking := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	served := regexp.MustCompile(`(?m)^cstproxy_tokens_served_total\{source="cache"\} [1-9]`)
	await(t, "simulated users to fetch their tokens", func() bool {
		response, err := asking.Get("http://" + admin + "/metrics")
		if err != nil {
			return false
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		return err == nil && served.Match(body)
	})
	asking.CloseIdleConnections()
	cancel()
	if code := <-ended; code != exitDone {
		t.Errorf("the demo ended with %d: %s", code, said.String())
	}
	goleak.VerifyNone(t, before)
}
