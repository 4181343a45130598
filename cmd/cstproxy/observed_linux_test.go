package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// observed is a process under load.
type observed struct {
	pid     int
	callers []*keptAlive
}

// keptAlive asks for a token over and over on one connection, at little cost of its own.
type keptAlive struct {
	connection net.Conn
	answers    *bufio.Reader
	request    []byte
}

func (k *keptAlive) ask() error {
	if _, err := k.connection.Write(k.request); err != nil {
		return err
	}
	answer, err := http.ReadResponse(k.answers, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode != http.StatusOK {
		return errors.Join(err, fmt.Errorf("status %d", answer.StatusCode))
	}
	return err
}

// slice has each caller ask so often, and returns the processor time that the process took for one request.
func (o *observed) slice(b *testing.B, each int) time.Duration {
	b.Helper()
	failed := make(chan error, len(o.callers))
	before := cpuTime(b, o.pid)
	for _, caller := range o.callers {
		go func() {
			var err error
			for range each {
				if err = caller.ask(); err != nil {
					break
				}
			}
			failed <- err
		}()
	}
	for range o.callers {
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
	return (cpuTime(b, o.pid) - before) / time.Duration(each*len(o.callers))
}

// cpuTime returns what a process has taken of all processors, user and system, by its own clock (clock_getcpuclockid(3)).
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &now); err != nil {
		b.Skipf("no clock of another process's time: %v", err)
	}
	return time.Duration(now.Nano())
}

// startObserved starts a process whose standard error goes to /dev/null: what a log costs, and not who reads it.
func startObserved(b *testing.B, environ ...string) *observed {
	b.Helper()
	address := "127.0.0.1:" + portOf(b)
	log, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = log.Close() })
	command := exec.Command("cstproxy", "serve")
	command.Env = append([]string{"CSTPROXY_LISTEN=" + address, "CSTPROXY_ADMIN_LISTEN=127.0.0.1:0"}, environ...)
	command.Stderr = log
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	o := &observed{pid: command.Process.Pid}
	for range 4 {
		o.callers = append(o.callers, connect(b, address))
	}
	return o
}

func portOf(b *testing.B) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// connect returns a connection on which the first token came.
func connect(b *testing.B, address string) *keptAlive {
	b.Helper()
	deadline := time.Now().Add(patience)
	for {
		connection, err := net.Dial("tcp", address)
		if err == nil {
			b.Cleanup(func() { _ = connection.Close() })
			k := &keptAlive{connection: connection, answers: bufio.NewReader(connection)}
			k.request = []byte("GET /v1/clients/alice/token HTTP/1.1\r\nHost: " + address + "\r\nUser-Agent: app\r\nAccept: application/json\r\n\r\n")
			if err := k.ask(); err != nil {
				b.Fatal(err)
			}
			return k
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// BenchmarkObserved measures what a hit in memory costs the process with all on that an operator sees by (series, a log at
// info, traces to a collector with the default sampler, exemplars), over one with nothing on: "on/off" is the median of the
// ratios of slices that were taken in turn, in random order. "off/off" is the same of two that are alike: how far the
// measurement is to be trusted. "all/off" traces every request, which nobody should.
func BenchmarkObserved(b *testing.B) {
	const pairs, each = 40, 2500
	portal := serveFor(b, portaltest.New(portaltest.Options{AnyClient: true}))
	environ := []string{"PORTAL_API_KEY=" + portaltest.DefaultKey, "PORTAL_API_URL=" + portal}
	sink := newSink(b)
	traced := append(slices.Clone(environ), "OTEL_EXPORTER_OTLP_ENDPOINT="+sink)
	kinds := []string{"off", "off again", "on", "all"}
	processes := map[string]*observed{
		"off":       startObserved(b, append(slices.Clone(environ), unobserved+"=1")...),
		"off again": startObserved(b, append(slices.Clone(environ), unobserved+"=1")...),
		"on":        startObserved(b, traced...),
		"all":       startObserved(b, append(slices.Clone(traced), "OTEL_TRACES_SAMPLER=always_on")...),
	}
	for _, process := range processes { // warm
		process.slice(b, each)
	}
	took := map[string][]float64{}
	for b.Loop() {
		for range pairs {
			rand.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
			for _, kind := range kinds {
				took[kind] = append(took[kind], float64(processes[kind].slice(b, each).Nanoseconds()))
			}
		}
	}
	b.ReportMetric(0, "ns/op") // the time of the whole says nothing
	b.ReportMetric(ratio(took["off again"], took["off"]), "off/off")
	b.ReportMetric(ratio(took["on"], took["off"]), "on/off")
	b.ReportMetric(ratio(took["all"], took["off"]), "all/off")
	b.ReportMetric(median(took["off"]), "cpu-ns/request-off")
	b.ReportMetric(median(took["on"]), "cpu-ns/request-on")
}

// ratio returns the median of the ratios of pairs.
func ratio(of, to []float64) float64 {
	ratios := make([]float64, len(of))
	for i := range of {
		ratios[i] = of[i] / to[i]
	}
	return median(ratios)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// newSink returns the URL of a collector that takes all and looks at nothing.
func newSink(b *testing.B) string {
	b.Helper()
	return serveFor(b, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
}

func serveFor(b *testing.B, handler http.Handler) (url string) {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(func() { _ = server.Close() })
	return "http://" + listener.Addr().String()
}
