package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"time"
)

// startFigures is how long it takes from the start of the process until /readyz says 200.
type startFigures struct {
	Name     string    `json:"name"`
	Millis   []float64 `json:"millis"`
	MedianMS float64   `json:"medianMs"`
	MaxMS    float64   `json:"maxMs"`
}

// waysToStart are those that are measured.
func waysToStart() []startFigures {
	return []startFigures{{Name: "with Redis"}, {Name: "in memory alone"}}
}

// measureStarts starts cstproxy over and over, by turns with Redis and without.
func (r *scaleRun) measureStarts(ctx context.Context) (ways []startFigures, err error) {
	ways = waysToStart()
	settings := [][]string{nil, {"REDIS_URL="}}
	for round := range r.size.Starts {
		for i := range ways {
			took, failed := r.startOnce(ctx, fmt.Sprintf("start-%d-%d", i, round), settings[i])
			err = errors.Join(err, failed)
			ways[i].Millis = append(ways[i].Millis, float64(took.Microseconds())/1000)
		}
	}
	for i := range ways {
		ways[i].MedianMS, ways[i].MaxMS = median(ways[i].Millis), slices.Max(ways[i].Millis)
	}
	return ways, err
}

func (r *scaleRun) startOnce(ctx context.Context, name string, settings []string) (took time.Duration, err error) {
	socket := filepath.Join(r.Dir, name)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: time.Second}
	began := time.Now()
	p, err := r.spawn(r.serve(name, append(settings, "CSTPROXY_ADMIN_LISTEN=unix:"+socket)))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	err = p.await(ctx, func() bool { return isReady(ctx, client) })
	return time.Since(began), err
}

// serve is the command that serves. The budget is wide: where the machine is so busy that Redis does not answer in time, a token is
// minted in its place, and a fetch has its answer all the same.
func (r *scaleRun) serve(name string, settings []string) command {
	return command{Name: name, Path: r.Proxy, Args: []string{"serve"}, Environ: append([]string{
		"PORTAL_API_URL=" + r.Portal, "PORTAL_API_KEY=" + r.PortalKey, "REDIS_URL=redis://" + r.Redis.Addr,
		"CSTPROXY_LISTEN=127.0.0.1:0", "CSTPROXY_ADMIN_LISTEN=127.0.0.1:0", "CSTPROXY_MINT_RATE=100000/m",
	}, settings...)}
}

func isReady(ctx context.Context, client *http.Client) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin/readyz", http.NoBody)
	if err != nil {
		return false
	}
	answer, err := client.Do(request)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// start starts a cstproxy, whatever it logs, and returns it once it takes connections.
func (r *scaleRun) start(ctx context.Context, name string, settings ...string) (a *asked, err error) {
	const ports = 5 // one that was free may be taken a moment later
	for range ports {
		if a, err = r.startAt(ctx, name, settings); err == nil {
			return a, nil
		}
	}
	return nil, err
}

func (r *scaleRun) startAt(ctx context.Context, name string, settings []string) (*asked, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	p, err := r.spawn(r.serve(name, append(settings, "CSTPROXY_LISTEN="+address)))
	if err != nil {
		return nil, err
	}
	err = p.await(ctx, func() bool {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	if err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return &asked{running: &running{Target: target{Network: "tcp", Address: address}, Processes: []int{p.Pid}, Stop: p.Stop}}, nil
}
