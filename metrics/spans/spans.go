// Package spans tells an OpenTelemetry collector what cstproxy did, and how long each part of it took: one trace for a
// request to the data API, with a span for each request to Portal and each command to Redis that came of it.
//
// What holds, always:
//
//  1. No id of a client or a token, no secret, and no text that anybody else wrote is in a span that leaves: what may is
//     listed in [allowed], and nothing else passes.
//  2. Nobody waits for the collector. What it does not take in time is dropped, counted, and never kept in memory beyond
//     [mostWaiting] spans.
//  3. Nothing here begins a trace but a request. What Redis is asked for otherwise, as once a second, makes no span.
//  4. The process's environment is not read: all settings are in [Parts].
package spans

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/cstproxy/cstproxy/proxy/session"
)

const (
	// mostWaiting is how many spans wait for the collector, with those that are on their way: each holds a few KiB.
	mostWaiting = 1024
	batchSize   = 256
	batchEvery  = 2 * time.Second
	// sendTime bounds one request to the collector.
	sendTime = 5 * time.Second
)

// Parts is what a [Tracer] is made of. Every field is required but those that say otherwise.
type Parts struct {
	// Endpoint is the collector's base URL, without a slash at its end.
	Endpoint string
	// Headers go with each request to the collector; see [ParseHeaders]. Optional.
	Headers session.Secret
	// Attributes describe this process, as [ParseAttributes] reads them. Optional.
	Attributes string
	// Service is this process's name, unless it is empty and the Attributes have one.
	Service, Version string
	Sampler          Sampler
	// Dropped is told of spans that the collector never gets, and why: one of [Drops].
	Dropped func(why string, spans int)
	Log     *slog.Logger
}

// Tracer makes spans and sends them. It is safe for concurrent use. A nil Tracer makes none, and changes nothing.
type Tracer struct {
	provider *sdk.TracerProvider
	sender   *sender
	admit    admit
	context  propagation.TraceContext
}

// New returns a Tracer made of parts, which goes on until [Tracer.Close].
func New(parts Parts) (*Tracer, error) {
	about, err := describe(parts)
	if err != nil {
		return nil, err
	}
	sender := newSender(parts, about)
	if err := sender.take(parts.Headers); err != nil {
		return nil, err
	}
	t := newTracer(parts.Sampler, newBounded(batches(sender), parts.Dropped, sender))
	t.sender = sender
	return t, nil
}

// batches is the SDK's own processor. All of its options are given, or it would look for them in the environment.
func batches(to sdk.SpanExporter) sdk.SpanProcessor {
	return sdk.NewBatchSpanProcessor(to, sdk.WithMaxQueueSize(mostWaiting), sdk.WithMaxExportBatchSize(batchSize),
		sdk.WithBatchTimeout(batchEvery), sdk.WithExportTimeout(sendTime))
}

// newTracer returns a Tracer whose spans end at the processor.
func newTracer(sampler Sampler, processor sdk.SpanProcessor) *Tracer {
	// The SDK has a logger of the process's own for what goes wrong inside, such as an environment that it reads in vain.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	return &Tracer{
		admit: sampler.admit(),
		provider: sdk.NewTracerProvider(
			sdk.WithSampler(ofRequests{sampler.of()}), sdk.WithRawSpanLimits(limits()), sdk.WithSpanProcessor(processor),
			// What describes this process the sender knows; the SDK would add what the environment says.
			sdk.WithResource(resource.Empty()), sdk.WithoutPanicRecording(),
		),
	}
}

// limits are the SDK's own, said here since it would look for others in the environment.
func limits() sdk.SpanLimits {
	return sdk.SpanLimits{
		AttributeValueLengthLimit: 256, AttributeCountLimit: 64, AttributePerEventCountLimit: 0, AttributePerLinkCountLimit: 0,
		EventCountLimit: 0, LinkCountLimit: 8,
	}
}

// TakeHeaders takes the headers for the requests to the collector from now on.
func (t *Tracer) TakeHeaders(headers session.Secret) error { return t.sender.take(headers) }

// ID returns the id of the trace that ctx is a part of, if its spans are sent; else "".
func ID(ctx context.Context) string {
	if of := trace.SpanContextFromContext(ctx); of.IsSampled() {
		return of.TraceID().String()
	}
	return ""
}

// Close sends what is waiting, until ctx ends. What is left then is dropped.
func (t *Tracer) Close(ctx context.Context) {
	if t == nil {
		return
	}
	stop := context.AfterFunc(ctx, t.sender.hurry)
	defer stop()
	_ = t.provider.Shutdown(context.WithoutCancel(ctx)) // it ends when the sender does
	t.sender.close()
}

// carrier is where a request has the trace that it is a part of.
func carrier(r *http.Request) propagation.HeaderCarrier { return propagation.HeaderCarrier(r.Header) }
