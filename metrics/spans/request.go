package spans

import (
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// What a span says of a request, by the names of HTTP's conventions
// (https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span) and two of our own.
const (
	keyMethod    = attribute.Key("http.request.method")
	keyRoute     = attribute.Key("http.route")
	keyStatus    = attribute.Key("http.response.status_code")
	keyScheme    = attribute.Key("url.scheme")
	keyCache     = attribute.Key("cstproxy.cache")
	keyCollapsed = attribute.Key("cstproxy.collapsed")
)

// scope is who makes the spans of requests.
const scope = "github.com/cstproxy/cstproxy/metrics/spans"

// Requests traces the requests that next answers. What serves them says in [http.Request.Pattern] which route it was.
func (t *Tracer) Requests(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	traced := traced{tracer: t.provider.Tracer(scope), of: t, next: next}
	if t.admit == nil {
		return traced
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.sift(traced, w, r) })
}

// sift has requests traced whose callers trace them, and of the others those that are admitted. Of a trace that its caller
// does not send Portal is still told.
func (t *Tracer) sift(traced traced, w http.ResponseWriter, r *http.Request) {
	if r.Header["Traceparent"] != nil {
		ctx := t.context.Extract(r.Context(), carrier(r))
		switch of := trace.SpanContextFromContext(ctx); {
		case of.IsSampled():
			traced.ServeHTTP(w, r)
			return
		case of.IsValid():
			traced.next.ServeHTTP(w, r.WithContext(ctx))
			return
		}
	}
	if t.admit() {
		traced.ServeHTTP(w, r)
		return
	}
	traced.next.ServeHTTP(w, r)
}

// traced answers each request within a span. The instrumentation that there is for Echo is for its next version, and that
// for net/http has a type for each set of interfaces that an [http.ResponseWriter] may have, which is a tenth of the binary.
type traced struct {
	tracer trace.Tracer
	of     *Tracer
	next   http.Handler
}

// ServeHTTP implements [http.Handler].
func (h traced) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := methodOf(r)
	ctx, span := h.tracer.Start(h.of.context.Extract(r.Context(), carrier(r)), method, trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	inside := r.WithContext(ctx)
	if !span.IsRecording() {
		h.next.ServeHTTP(w, inside)
		return
	}
	answer := &answer{ResponseWriter: w, status: http.StatusOK}
	h.next.ServeHTTP(answer, inside)
	span.SetName(strings.TrimSpace(method + " " + inside.Pattern))
	span.SetAttributes(keyMethod.String(method), keyRoute.String(inside.Pattern), keyStatus.Int(answer.status), keyScheme.String(scheme(r)))
	if status := w.Header().Get("Cache-Status"); status != "" {
		span.SetAttributes(keyCache.String(cache(status)), keyCollapsed.Bool(strings.HasSuffix(status, "; collapsed")))
	}
	if answer.status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
}

// answer knows the status of what was answered.
type answer struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap gives [http.ResponseController] what else there is.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// methodOf returns one of a closed set, as the conventions have it.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return r.Method
	}
	return "_OTHER"
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

// cache returns how the proxy came by a token, of what its answer says.
func cache(status string) string {
	for _, word := range []string{"hit", "miss", "stale"} {
		if strings.Contains(status, word) {
			return word
		}
	}
	return "unknown"
}
