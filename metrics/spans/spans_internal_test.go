package spans

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// remembering returns a Tracer that keeps its spans in memory.
func remembering(sampler Sampler) (*Tracer, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	return newTracer(sampler, recorder), recorder
}

const (
	callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan  = "00f067aa0ba902b7"
	sampled      = "00-" + callersTrace + "-" + callersSpan + "-01"
	unsampled    = "00-" + callersTrace + "-" + callersSpan + "-00"
)

// ask has handler answer a request, with a traceparent if it is not empty.
func ask(handler http.Handler, method, path, traceparent string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, http.NoBody)
	if traceparent != "" {
		request.Header.Set("Traceparent", traceparent)
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	return answer
}

// shape returns spans as "parent > name", in the order of their names.
func shape(ended []sdk.ReadOnlySpan) []string {
	names := map[trace.SpanID]string{}
	for _, span := range ended {
		names[span.SpanContext().SpanID()] = span.Name()
	}
	lines := make([]string, 0, len(ended))
	for _, span := range ended {
		parent := names[span.Parent().SpanID()]
		if parent == "" && span.Parent().IsValid() {
			parent = "the caller's"
		}
		lines = append(lines, strings.TrimSpace(parent+" > "+span.Name()))
	}
	slices.Sort(lines)
	return lines
}

// TestAllThatARequestCausesIsOneTrace has work that outlives the request, as what callers share does.
func TestAllThatARequestCausesIsOneTrace(t *testing.T) {
	t.Parallel()
	tracer, recorder := remembering(Sampler{})
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), DisableIdentity: true, MaintNotificationsConfig: noMaintenance()})
	t.Cleanup(func() { _ = client.Close() })
	tracer.Redis(client)
	client.Ping(t.Context()) // the connection, and a command of no request
	told := make(chan http.Header, 1)
	portal := tracer.Portal(func(context.Context) string { return "mint" })(roundTrip(func(r *http.Request) (*http.Response, error) {
		told <- r.Header
		return &http.Response{StatusCode: http.StatusInternalServerError, Body: http.NoBody}, nil
	}))
	behind := make(chan struct{})
	handler := tracer.Requests(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shared := context.WithoutCancel(r.Context())
		r.Pattern = "/v1/clients/:clientId/token"
		w.Header().Set("Cache-Status", "cstproxy; fwd=miss; collapsed")
		w.WriteHeader(http.StatusBadGateway)
		go func() {
			defer close(behind)
			client.Get(shared, "key")
			request, err := http.NewRequestWithContext(shared, http.MethodPost, "https://portal.test/clients/alice", strings.NewReader("{}"))
			if err != nil {
				t.Error(err)
				return
			}
			answer, err := portal.RoundTrip(request)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
		}()
	}))
	ask(handler, http.MethodGet, "/v1/clients/alice/token", sampled)
	<-behind
	want := []string{"GET /v1/clients/:clientId/token > get", "GET /v1/clients/:clientId/token > portal mint", "the caller's > GET /v1/clients/:clientId/token"}
	if diff := cmp.Diff(want, shape(recorder.Ended())); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	for _, span := range recorder.Ended() {
		if got := span.SpanContext().TraceID().String(); got != callersTrace {
			t.Errorf("%s is of trace %s, want the caller's", span.Name(), got)
		}
	}
	header := <-told
	if !strings.HasPrefix(header.Get("Traceparent"), "00-"+callersTrace) {
		t.Errorf("Portal is told %q", header.Get("Traceparent"))
	}
	ended := recorder.Ended() // in whichever order
	said := attributes(ended[slices.IndexFunc(ended, func(s sdk.ReadOnlySpan) bool { return strings.HasPrefix(s.Name(), "GET ") })])
	if said["cstproxy.collapsed"] != "true" || said["cstproxy.cache"] != "miss" || said["http.response.status_code"] != "502" {
		t.Errorf("the request's span says %v", said)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// attributes returns what a span says before the door.
func attributes(span sdk.ReadOnlySpan) map[string]string {
	said := map[string]string{}
	for _, a := range span.Attributes() {
		said[string(a.Key)] = a.Value.String()
	}
	return said
}

func TestSamplersTakeWhatTheirNamesSay(t *testing.T) {
	t.Parallel()
	const many = 200
	for name, tt := range map[string]struct {
		sampler     Sampler
		traceparent string
		least, most int
	}{
		"the default, of a busy replica":         {Sampler{}, "", 1, 20},
		"the default, what the caller traces":    {Sampler{}, sampled, many, many},
		"the default, what it does not":          {Sampler{}, unsampled, 0, 0},
		"the default, with nonsense":             {Sampler{}, "nonsense", 1, 20},
		"all":                                    {Sampler{Name: alwaysOn}, unsampled, many, many},
		"none":                                   {Sampler{Name: alwaysOff}, sampled, 0, 0},
		"a part of none":                         {Sampler{Name: traceIDRatio, Argument: "0"}, "", 0, 0},
		"a part":                                 {Sampler{Name: traceIDRatio, Argument: "0.5"}, "", 50, 150},
		"a ratio without a number":               {Sampler{Name: traceIDRatio}, "", many, many},
		"all, but what the caller does not":      {Sampler{Name: parentBasedAlwaysOn}, unsampled, 0, 0},
		"all that the caller says nothing of":    {Sampler{Name: parentBasedAlwaysOn}, "", many, many},
		"none that the caller says nothing of":   {Sampler{Name: parentBasedAlwaysOff}, "", 0, 0},
		"none, but what the caller traces":       {Sampler{Name: parentBasedAlwaysOff}, sampled, many, many},
		"a part, and what the caller traces":     {Sampler{Name: parentBasedTraceIDRatio, Argument: "0"}, sampled, many, many},
		"a part that the caller says nothing of": {Sampler{Name: parentBasedTraceIDRatio, Argument: "0"}, "", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tracer, recorder := remembering(tt.sampler)
			ids := 0
			handler := tracer.Requests(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if ID(r.Context()) != "" {
					ids++
				}
			}))
			for range many {
				ask(handler, http.MethodGet, "/", tt.traceparent)
			}
			if got := len(recorder.Ended()); got < tt.least || got > tt.most || got != ids {
				t.Errorf("%d spans of %d requests, %d with an id; want %d to %d", got, many, ids, tt.least, tt.most)
			}
		})
	}
}

// TestWhatNobodyAskedForMakesNoTrace is about what goes on in the background all the time.
func TestWhatNobodyAskedForMakesNoTrace(t *testing.T) {
	t.Parallel()
	for _, name := range append(Samplers(), "") {
		tracer, recorder := remembering(Sampler{Name: name})
		server := redistest.Start(t)
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaintNotificationsConfig: noMaintenance()})
		tracer.Redis(client)
		client.Set(t.Context(), "key", "value", 0)
		_ = client.Close()
		portal := tracer.Portal(func(context.Context) string { return "mint" })(roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Traceparent") != "" {
				t.Errorf("%s: Portal is told of a trace that is none", name)
			}
			return nil, errors.New("nobody there")
		}))
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://portal.test", http.NoBody)
		if answer, err := portal.RoundTrip(request); err == nil {
			_ = answer.Body.Close()
		}
		if got := recorder.Ended(); len(got) > 0 {
			t.Errorf("%q: spans %v", name, shape(got))
		}
	}
}

// TestTheCallersTraceGoesOnToPortalThoughNobodyTracesIt is W3C's: who does not sample still passes on.
func TestTheCallersTraceGoesOnToPortalThoughNobodyTracesIt(t *testing.T) {
	t.Parallel()
	tracer, recorder := remembering(Sampler{})
	var got http.Header
	portal := tracer.Portal(func(context.Context) string { return "mint" })(roundTrip(func(r *http.Request) (*http.Response, error) {
		got = r.Header
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}))
	ask(tracer.Requests(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		request, _ := http.NewRequestWithContext(r.Context(), http.MethodPost, "https://portal.test", http.NoBody)
		answer, _ := portal.RoundTrip(request)
		_ = answer.Body.Close()
	})), http.MethodGet, "/", unsampled)
	parent := got.Get("Traceparent")
	if !strings.HasPrefix(parent, "00-"+callersTrace) || !strings.HasSuffix(parent, "-00") || len(recorder.Ended()) > 0 {
		t.Errorf("Portal is told %q, with %d spans", parent, len(recorder.Ended()))
	}
}

func TestANilTracerChangesNothing(t *testing.T) {
	t.Parallel()
	var tracer *Tracer
	next := http.NewServeMux()
	if got := tracer.Requests(next); got != http.Handler(next) {
		t.Errorf("requests go through %T", got)
	}
	if tracer.Portal(nil) != nil {
		t.Error("requests to Portal are wrapped")
	}
	tracer.Redis(nil)
	tracer.Close(t.Context())
}

// TestTheEnvironmentIsNotRead sets what the SDK looks for in the process's own. Not parallel: it is the process's.
func TestTheEnvironmentIsNotRead(t *testing.T) {
	for variable, value := range map[string]string{
		"OTEL_TRACES_SAMPLER": "always_off", "OTEL_RESOURCE_ATTRIBUTES": "planted=canary", "OTEL_SERVICE_NAME": "canary",
		"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "1",
		"OTEL_BSP_MAX_QUEUE_SIZE": "1", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1", "OTEL_BSP_SCHEDULE_DELAY": "1", "OTEL_BSP_EXPORT_TIMEOUT": "1",
		"OTEL_EXPORTER_OTLP_HEADERS": "planted=canary",
	} {
		t.Setenv(variable, value)
	}
	collector := collect(t)
	tracer, err := New(parts(collector.url))
	if err != nil {
		t.Fatal(err)
	}
	handler := tracer.Requests(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { r.Pattern = "/route" }))
	for range 5 {
		ask(handler, http.MethodGet, "/", sampled)
	}
	tracer.Close(t.Context())
	requests, spans := collector.got()
	if requests != 1 || len(spans) != 5 {
		t.Fatalf("%d spans in %d requests, want 5 in one", len(spans), requests)
	}
	for _, text := range collector.raw() {
		if strings.Contains(text, "canary") {
			t.Error("the environment got to the collector")
		}
	}
	if len(spans[0].Attributes) != 4 {
		t.Errorf("the span has %d attributes, want 4", len(spans[0].Attributes))
	}
}

// TestNothingPassesTheDoorThatIsNotListed has a span with all that a span can have, each with a text of others.
func TestNothingPassesTheDoorThatIsNotListed(t *testing.T) {
	t.Parallel()
	const others = "canary-of-others"
	state, err := trace.ParseTraceState("vendor=" + others)
	if err != nil {
		t.Fatal(err)
	}
	of := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, TraceState: state})
	span := tracetest.SpanStub{
		Name: "GET", SpanContext: of, SpanKind: trace.SpanKindServer,
		Attributes: []attribute.KeyValue{
			attribute.String("url.full", others), attribute.String("url.path", others), attribute.String("server.address", others),
			attribute.String("db.query.text", others), attribute.String("exception.message", others), attribute.String(others, "x"),
			attribute.StringSlice("http.route", []string{others}), attribute.Int("http.response.status_code", 200),
		},
		Events: []sdk.Event{{Name: others, Attributes: []attribute.KeyValue{attribute.String("exception.message", others)}}},
		Links:  []sdk.Link{{SpanContext: of, Attributes: []attribute.KeyValue{attribute.String("url.full", others)}}},
		Status: sdk.Status{Code: codes.Error, Description: others},
	}.Snapshot()
	collector := collect(t)
	tracer, err := New(parts(collector.url))
	if err != nil {
		t.Fatal(err)
	}
	if err := tracer.sender.ExportSpans(t.Context(), []sdk.ReadOnlySpan{span}); err != nil {
		t.Error(err)
	}
	tracer.Close(t.Context())
	_, spans := collector.got()
	if len(spans) != 1 || len(spans[0].Attributes) != 1 {
		t.Errorf("got %v, want one span with its status", spans)
	}
	for _, text := range collector.raw() {
		if strings.Contains(text, others) {
			t.Errorf("got out: %q", text)
		}
	}
}

func parts(endpoint string) Parts {
	return Parts{Endpoint: endpoint, Version: "v1", Dropped: func(string, int) {}, Log: slog.New(slog.DiscardHandler)}
}

func TestHeadersAndAttributesAreReadAsOpenTelemetrySays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string]string{
		"":                                  {},
		"a=b":                               {"a": "b"},
		"Authorization=Basic%20a2V5, x = y": {"Authorization": "Basic a2V5", "x": "y"},
		"k=a=b":                             {"k": "a=b"},
		"empty=":                            {"empty": ""},
	} {
		attributes, err := ParseAttributes(text)
		if err != nil || !cmp.Equal(want, attributes) {
			t.Errorf("%q: attributes %v, %v", text, attributes, err)
		}
		headers, err := ParseHeaders(session.NewSecret(text))
		revealed := map[string]string{}
		for name, value := range headers {
			revealed[name] = value.Reveal()
		}
		if err != nil || !cmp.Equal(want, revealed) {
			t.Errorf("%q: headers %v, %v", text, revealed, err)
		}
	}
	for _, text := range []string{"secret", "=secret", "a=%zzsecret", "a b=secret", "a=secret%0a", "ä=secret", "a=b,", "a=secret%ff"} {
		if _, err := ParseHeaders(session.NewSecret(text)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: error %v, want one that does not show it", text, err)
		}
	}
}

// TestTheCollectorsRedirectIsNotFollowed has a collector that sends elsewhere, as one that was taken over would.
func TestTheCollectorsRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("followed, with %v", r.Header)
	}))
	t.Cleanup(elsewhere.Close)
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	with := parts(server.URL)
	with.Headers = session.NewSecret("authorization=secret")
	dropped := 0
	with.Dropped = func(_ string, spans int) { dropped += spans }
	tracer, err := New(with)
	if err != nil {
		t.Fatal(err)
	}
	ask(tracer.Requests(http.NotFoundHandler()), http.MethodGet, "/", sampled)
	tracer.Close(t.Context())
	if dropped != 1 {
		t.Errorf("%d spans were dropped, want 1", dropped)
	}
}
