package spans

import (
	"context"
	"net/http"

	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
)

// Portal traces what next sends to Portal, each attempt by itself, and tells Portal of the trace. name says, of the
// context, what is asked: one of a closed set.
func (t *Tracer) Portal(name func(context.Context) string) func(next http.RoundTripper) http.RoundTripper {
	if t == nil {
		return nil
	}
	return func(next http.RoundTripper) http.RoundTripper {
		return otelhttp.NewTransport(next, otelhttp.WithTracerProvider(t.provider), otelhttp.WithPropagators(t.context),
			otelhttp.WithMeterProvider(noop.NewMeterProvider()), // of metrics there are enough
			otelhttp.WithFilter(func(r *http.Request) bool { return trace.SpanContextFromContext(r.Context()).IsValid() }),
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return "portal " + name(r.Context()) }))
	}
}

// Redis traces the commands that client sends, without what is in them. What other hooks of the client keep from Redis
// is no span.
func (t *Tracer) Redis(client redis.UniversalClient) {
	if t == nil {
		return
	}
	// Each node by itself: what does it for all of a Cluster's adds to its options for each that turns up.
	if cluster, ok := client.(*redis.ClusterClient); ok {
		cluster.OnNewNode(func(node *redis.Client) { t.commands(node) })
		return
	}
	t.commands(client)
}

func (t *Tracer) commands(client redis.UniversalClient) {
	// The error is for clients that are not go-redis's own.
	_ = redisotel.InstrumentTracing(client, redisotel.WithTracerProvider(t.provider),
		redisotel.WithDBStatement(false), redisotel.WithCallerEnabled(false))
}
