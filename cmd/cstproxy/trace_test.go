package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// collector is one of traces, that takes all it is sent.
type collector struct {
	t      *testing.T
	url    string
	bodies transcript
	mu     sync.Mutex
	heads  []http.Header
	data   []*tracepb.ResourceSpans
}

func collect(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// ServeHTTP implements [http.Handler], by OTLP over HTTP.
func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return // a process that dies sends half
	}
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("the collector got %s %s, a %q, %v", r.Method, r.URL, r.Header.Get("Content-Type"), err)
	}
	var data tracepb.TracesData
	if err := proto.Unmarshal(body, &data); err != nil {
		c.t.Errorf("the collector can't read: %v", err)
	}
	_, _ = c.bodies.Write(body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heads, c.data = append(c.heads, r.Header), append(c.data, data.ResourceSpans...)
}

// spans returns all that came.
func (c *collector) spans() (spans []*tracepb.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range c.data {
		for _, scope := range of.ScopeSpans {
			spans = append(spans, scope.Spans...)
		}
	}
	return spans
}

// about returns what the collector is told of the process.
func (c *collector) about() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	about := map[string]string{}
	for _, of := range c.data {
		for _, a := range of.Resource.Attributes {
			about[a.Key] = a.Value.GetStringValue()
		}
	}
	return about
}

const (
	callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan  = "00f067aa0ba902b7"
	traceparent  = "00-" + callersTrace + "-" + callersSpan + "-01"
)

// TestTheCollectorGetsTheWholeTraceOfARequest follows a caller's trace through Redis and to Portal.
func TestTheCollectorGetsTheWholeTraceOfARequest(t *testing.T) {
	t.Parallel()
	told := make(chan http.Header, 10)
	_, environ := simulated(t, portaltest.Options{AnyClient: true}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			told <- r.Header.Clone()
			next.ServeHTTP(w, r)
		})
	})
	to := collect(t)
	c := serve(t, append(environ, "REDIS_URL="+redistest.Start(t).URL(), "OTEL_EXPORTER_OTLP_ENDPOINT="+to.url+"/",
		"OTEL_EXPORTER_OTLP_HEADERS=Authorization=Bearer%20key,x-tenant=a", "OTEL_SERVICE_NAME=wallets", "OTEL_RESOURCE_ATTRIBUTES=service.name=no,team=a%2Cb")...)
	got, err := c.ask(http.MethodGet, c.data+"/v1/clients/alice/token", "", "Traceparent: "+traceparent, "Baggage: user=alice", "Tracestate: vendor=1")
	if err != nil || got.status != http.StatusOK {
		t.Fatal(got.status, err)
	}
	c.signal(syscall.SIGTERM)
	if code := c.wait().ExitCode(); code != exitDone {
		t.Errorf("ended with %d", code)
	}

	parents := map[string]string{} // :: span id → its name
	for _, span := range to.spans() {
		parents[string(span.SpanId)] = span.Name
	}
	count := map[string]int{}
	for _, span := range to.spans() {
		if got := hexOf(span.TraceId); got != callersTrace {
			t.Errorf("%s is of trace %s", span.Name, got)
		}
		parent := parents[string(span.ParentSpanId)]
		if hexOf(span.ParentSpanId) == callersSpan {
			parent = "the caller's"
		}
		count[parent+" > "+span.Name]++
		if span.EndTimeUnixNano < span.StartTimeUnixNano || span.StartTimeUnixNano == 0 {
			t.Errorf("%s lasts from %d to %d", span.Name, span.StartTimeUnixNano, span.EndTimeUnixNano)
		}
	}
	const root = "GET /v1/clients/:clientId/token"
	if count["the caller's > "+root] != 1 || count[root+" > portal mint"] != 1 || count[root+" > get"] < 1 || count[root+" > evalsha"] < 1 {
		t.Errorf("spans: %v", count)
	}
	about := to.about()
	if about["service.name"] != "wallets" || about["team"] != "a,b" || about["service.version"] == "" || about["service.instance.id"] == "" {
		t.Errorf("the process is said to be %v", about)
	}
	if head := to.heads[0]; head.Get("Authorization") != "Bearer key" || head.Get("X-Tenant") != "a" {
		t.Errorf("the collector got the headers %v", head)
	}
	header := <-told
	if !strings.HasPrefix(header.Get("Traceparent"), "00-"+callersTrace+"-") || header.Get("Tracestate") != "vendor=1" || header.Get("Baggage") != "" {
		t.Errorf("Portal was told %v", header)
	}
	if !strings.Contains(c.written.String(), `"trace_id":"`+callersTrace+`"`) {
		t.Error("no line of the log has the trace")
	}
}

func hexOf(id []byte) string {
	const digits = "0123456789abcdef"
	var text strings.Builder
	for _, b := range id {
		text.WriteByte(digits[b>>4])
		text.WriteByte(digits[b&15])
	}
	return text.String()
}

// TestWithoutACollectorNothingIsTraced asks as a caller who traces.
func TestWithoutACollectorNothingIsTraced(t *testing.T) {
	t.Parallel()
	told := make(chan http.Header, 10)
	_, environ := simulated(t, portaltest.Options{AnyClient: true}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			told <- r.Header.Clone()
			next.ServeHTTP(w, r)
		})
	})
	c := serve(t, append(environ, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_TRACES_SAMPLER=always_on")...)
	if _, err := c.ask(http.MethodGet, c.data+"/v1/clients/alice/token", "", "Traceparent: "+traceparent); err != nil {
		t.Fatal(err)
	}
	if header := <-told; header.Get("Traceparent") != "" {
		t.Errorf("Portal was told %q", header.Get("Traceparent"))
	}
}

// TestSharedAndLaterWorkIsInTheTraceThatBeganIt has two callers who share a mint, and a refresh that nobody waits for.
func TestSharedAndLaterWorkIsInTheTraceThatBeganIt(t *testing.T) {
	t.Parallel()
	portal, environ := simulated(t, portaltest.Options{AnyClient: true})
	to := collect(t)
	c := serve(t, append(environ, "OTEL_EXPORTER_OTLP_ENDPOINT="+to.url, "OTEL_TRACES_SAMPLER=always_on", "CSTPROXY_IDLE_TTL=9s", "CSTPROXY_SAFETY_MARGIN=100ms")...)
	portal.Inject(portaltest.All, portaltest.Fault{Latency: time.Second / 2})
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() { _, _ = c.fetch("alice", "") })
	}
	group.Wait()
	portal.Inject(portaltest.All, portaltest.Fault{})
	await(t, "a refresh in the background", func() bool {
		_, _ = c.fetch("alice", "")
		return portal.Stats().Probes > 0
	})
	c.signal(syscall.SIGTERM)
	c.wait()
	collapsed, mints, refreshes := 0, 0, 0
	roots := map[string]bool{}
	for _, span := range to.spans() {
		if len(span.ParentSpanId) == 0 {
			roots[string(span.SpanId)] = true
		}
		for _, a := range span.Attributes {
			if a.Key == "cstproxy.collapsed" && a.Value.GetBoolValue() {
				collapsed++
			}
		}
	}
	for _, span := range to.spans() {
		switch {
		case span.Name == "portal mint" && roots[string(span.ParentSpanId)]:
			mints++
		case span.Name == "portal refresh" && roots[string(span.ParentSpanId)]:
			refreshes++
		}
	}
	if collapsed != 1 || mints != 1 || refreshes < 1 {
		t.Errorf("%d collapsed, %d mints and %d refreshes below a request, want 1, 1 and some", collapsed, mints, refreshes)
	}
}

// TestACollectorThatFailsCostsNobodyAnything has more spans than may wait.
func TestACollectorThatFailsCostsNobodyAnything(t *testing.T) {
	t.Parallel()
	const requests = 1500
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(hanging.Close)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	t.Cleanup(refusing.Close)
	for name, tt := range map[string]struct{ url, why string }{
		"it hangs":      {hanging.URL, "queue_full"},
		"it refuses":    {refusing.URL, "not_sent"},
		"nobody there":  {"http://" + unused(t), "not_sent"},
		"a wrong place": {refusing.URL + "/elsewhere", "not_sent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, environ := simulated(t, portaltest.Options{AnyClient: true})
			c := serve(t, append(environ, "OTEL_EXPORTER_OTLP_ENDPOINT="+tt.url, "OTEL_TRACES_SAMPLER=always_on")...)
			began := time.Now()
			for range requests {
				c.mustFetch("alice", "")
			}
			took := time.Since(began)
			await(t, "spans to be dropped", func() bool { return c.series()[`cstproxy_spans_dropped_total{reason="`+tt.why+`"}`] > 0 })
			ending := time.Now()
			c.signal(syscall.SIGTERM)
			if code := c.wait().ExitCode(); code != exitDone {
				t.Errorf("ended with %d", code)
			}
			if ended := time.Since(ending); ended > 5*time.Second || took > 15*time.Second {
				t.Errorf("%d requests took %s, and the end %s", requests, took, ended)
			}
			if tt.why == "not_sent" && strings.Count(c.written.String(), "collector does not take spans") != 1 {
				t.Error("that the collector fails is not said once")
			}
		})
	}
}

// unused returns an address that nobody listens at.
func unused(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// TestTheCollectorsHeadersAreReadAgain is about what an operator rotates.
func TestTheCollectorsHeadersAreReadAgain(t *testing.T) {
	t.Parallel()
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	to := collect(t)
	file := writeFile(t, "authorization=first\n")
	c := serve(t, append(environ, "OTEL_EXPORTER_OTLP_ENDPOINT="+to.url, "OTEL_TRACES_SAMPLER=always_on", "OTEL_EXPORTER_OTLP_HEADERS_FILE="+file)...)
	seen := func(want string) func() bool {
		return func() bool {
			c.mustFetch("alice", "")
			to.mu.Lock()
			defer to.mu.Unlock()
			return slices.ContainsFunc(to.heads, func(h http.Header) bool { return h.Get("Authorization") == want })
		}
	}
	await(t, "the first header", seen("first"))
	if err := os.WriteFile(file, []byte("authorization=second\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "the second", seen("second"))
}

// TestATraceCostsNothingUntilItIsSampled counts what a request allocates on its way through, and no time.
func TestATraceCostsNothingUntilItIsSampled(t *testing.T) {
	// Not parallel: it counts what the process allocates.
	cost := map[string]float64{}
	for name, more := range map[string][]string{"off": nil, "on": {"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + unused(t)}} {
		handler := inProcess(t, more...)
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/clients/alice/token", http.NoBody)
		request.Host = "localhost"
		request.RemoteAddr = "127.0.0.1:1"
		request = request.WithContext(context.WithValue(request.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}))
		for range 20 { // the replica's share of traces among them
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, request)
			if answer.Code != http.StatusOK {
				t.Fatal(answer.Code, answer.Body)
			}
		}
		cost[name] = testing.AllocsPerRun(200, func() {
			request.Body = http.NoBody // the handler put its own in that place
			handler.ServeHTTP(httptest.NewRecorder(), request)
		})
	}
	if diff := cmp.Diff([]string{"off", "on"}, slices.Sorted(maps.Keys(cost))); diff != "" || cost["off"] == 0 {
		t.Fatal(diff, cost)
	}
	if cost["on"] > cost["off"]+4 { // one in some is sampled meanwhile
		t.Errorf("a request allocates %v times with traces, %v without", cost["on"], cost["off"])
	}
	t.Logf("allocations of a request: %v", cost)
}

// inProcess returns the data API of a proxy that is wired here, and does not listen.
func inProcess(t *testing.T, more ...string) http.Handler {
	t.Helper()
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	config, err := loadConfig(append(environ, more...), nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := wire(config, surroundings{local: time.Now, err: io.Discard, log: newLog(config, io.Discard)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.broker.Close(context.WithoutCancel(t.Context()))
		a.close()
	})
	return a.data
}
