package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// sampler sends the same request over and over, on as many connections as it has callers.
type sampler struct {
	url    string
	header http.Header
	client *http.Client
}

func newSampler(url, token string) sampler {
	s := sampler{url: url, header: http.Header{}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: patience}}
	if token == "" {
		s.header.Set("X-Portal-Client-Id", "alice")
	} else {
		s.header.Set("Authorization", "Bearer "+token)
	}
	return s
}

func (s sampler) once() (time.Duration, error) {
	request, err := http.NewRequest(http.MethodGet, s.url+whoAmI, http.NoBody)
	if err != nil {
		return 0, err
	}
	request.Header = s.header
	began := time.Now()
	response, err := s.client.Do(request)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", response.StatusCode)
	}
	return time.Since(began), err
}

// round has so many callers send n requests each, every one after a pause of that much on average, and returns the median of what they took.
func (s sampler) round(b *testing.B, callers, n int, pause time.Duration) time.Duration {
	b.Helper()
	took := make([][]time.Duration, callers)
	var group sync.WaitGroup
	for i := range took {
		group.Go(func() {
			for range n {
				<-time.After(rand.N(2*pause + 1))
				one, err := s.once()
				if err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], one)
			}
		})
	}
	group.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	return all[len(all)/2]
}

// BenchmarkPassthroughAdds measures what a request takes longer through the proxy than straight to the simulated Portal, which
// answers after some time or at once: at 16 connections, a round of the one after a round of the other, and the medians of the
// rounds' medians. With a pause between requests the processors are not the bottleneck; without one nearly all is their time.
func BenchmarkPassthroughAdds(b *testing.B) {
	for _, c := range []struct {
		name          string
		portal, pause time.Duration
	}{
		{"to a Portal that takes 10ms", 10 * time.Millisecond, 0},
		{"to one that takes no time, 1,000 a second", 0, 16 * time.Millisecond},
		{"to one that takes no time, as many as can be", 0, 0},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkPassthrough(b, c.portal, c.pause) })
	}
}

func benchmarkPassthrough(b *testing.B, takes, pause time.Duration) {
	b.Helper()
	const callers, rounds, each = 16, 20, 40
	portal := portaltest.New(portaltest.Options{AnyClient: true})
	b.Cleanup(portal.Close)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-time.After(takes)
		portal.ServeHTTP(w, r)
	}))
	b.Cleanup(upstream.Close)
	address := "127.0.0.1:" + portOf(b)
	command := exec.Command("cstproxy", "serve")
	command.Env = []string{
		"CSTPROXY_LISTEN=" + address, "CSTPROXY_ADMIN_LISTEN=127.0.0.1:0", "PORTAL_API_URL=" + upstream.URL, "PORTAL_MPC_URL=" + upstream.URL,
		"PORTAL_API_KEY=" + portaltest.DefaultKey, passThrough, "CSTPROXY_LOG_LEVEL=warn",
	}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	through := newSampler("http://"+address, "")
	for began := time.Now(); ; <-time.After(10 * time.Millisecond) {
		if _, err := through.once(); err == nil {
			break
		} else if time.Since(began) > patience {
			b.Fatal(err)
		}
	}
	direct := newSampler(upstream.URL, issuedTo(portal, "alice"))
	for b.Loop() {
		var straight, passed, again []time.Duration
		for range rounds {
			straight = append(straight, direct.round(b, callers, each, pause))
			passed = append(passed, through.round(b, callers, each, pause))
			again = append(again, direct.round(b, callers, each, pause))
		}
		direct, added := medianOf(straight), medianOf(passed)-medianOf(straight)
		b.ReportMetric(float64(direct)/float64(time.Millisecond), "direct_ms")
		b.ReportMetric(float64(added)/float64(time.Millisecond), "added_ms")
		b.ReportMetric(float64(medianOf(again)-direct)/float64(time.Millisecond), "noise_ms")
		b.ReportMetric(0, "ns/op")
	}
}

func medianOf(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// issuedTo returns a token that was made for the client.
func issuedTo(portal *portaltest.Portal, client string) string {
	for cst, owner := range portal.Issued().Tokens {
		if owner == client {
			return cst
		}
	}
	return ""
}
