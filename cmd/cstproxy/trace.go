package main

import (
	"context"
	"time"

	"github.com/cstproxy/cstproxy/metrics/spans"
)

const (
	// fileOfCollectorHeaders is the name by which log and metrics call the file with the headers for the collector.
	fileOfCollectorHeaders = "otlp_headers"
	// lastSpans is how long the collector has at the end to take what is left.
	lastSpans = time.Second
	// otlpProtocol is the one that is spoken.
	otlpProtocol = "http/protobuf"
)

// openSpans returns what traces, nil without a collector.
func openSpans(config Config, files *watch) (*spans.Tracer, error) {
	if config.CollectorURL == "" {
		return nil, nil //nolint:nilnil // a nil Tracer is one that makes no spans
	}
	tracer, err := spans.New(spans.Parts{
		Endpoint: string(config.CollectorURL), Headers: config.CollectorHeaders, Attributes: config.ResourceAttributes,
		Service: config.ServiceName, Version: build().Version, Sampler: config.sampler(),
		Dropped: files.metrics.SpansDropped, Log: files.log,
	})
	if err != nil {
		return nil, configError{[]string{"OTEL_EXPORTER_OTLP_HEADERS: " + err.Error()}}
	}
	if _, err := files.add(fileOfCollectorHeaders, config.CollectorHeadersFile, secretLine(tracer.TakeHeaders)); err != nil {
		return nil, err
	}
	return tracer, nil
}

// traceOf returns what says which trace a request is part of, nil where there are none.
func traceOf(config Config) func(context.Context) string {
	if config.CollectorURL == "" {
		return nil
	}
	return spans.ID
}

func (c Config) sampler() spans.Sampler {
	return spans.Sampler{Name: c.TracesSampler, Argument: c.TracesSamplerArg}
}

// endSpans sends what is left.
func (a *application) endSpans() {
	ctx, cancel := context.WithTimeout(context.Background(), lastSpans) //nolint:forbidigo // the end has no caller
	defer cancel()
	a.spans.Close(ctx)
}

// tracesTogether are the rules for traces. Variables of this name may be meant for other programs, so that without a
// collector they may say anything.
func tracesTogether() []bound {
	of := func(variable string, holds func(Config) bool) bound {
		return bound{of: []string{variable}, holds: func(c Config) bool { return c.CollectorURL == "" || holds(c) }}
	}
	return []bound{
		of("OTEL_EXPORTER_OTLP_PROTOCOL", func(c Config) bool { return c.CollectorProtocol == otlpProtocol }),
		of("OTEL_EXPORTER_OTLP_HEADERS", func(c Config) bool {
			_, err := spans.ParseHeaders(c.CollectorHeaders)
			return err == nil || c.CollectorHeadersFile != "" // of which it is said when it is read
		}),
		of("OTEL_RESOURCE_ATTRIBUTES", func(c Config) bool { _, err := spans.ParseAttributes(c.ResourceAttributes); return err == nil }),
		of("OTEL_TRACES_SAMPLER", func(c Config) bool { return spans.Sampler{Name: c.TracesSampler}.Check() == nil }),
		of("OTEL_TRACES_SAMPLER_ARG", func(c Config) bool { return spans.Sampler{Argument: c.TracesSamplerArg}.Check() == nil }),
	}
}
