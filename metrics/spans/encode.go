package spans

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
)

// allowed lists what a span may say. Each takes its values from a closed set, whoever asks for what. All else that the
// instrumentation notes (paths, hosts, addresses, texts of errors) stays here.
var allowed = map[attribute.Key]bool{
	"http.request.method":       true, // a method that HTTP does not define is _OTHER
	"http.response.status_code": true,
	"url.scheme":                true,
	"error.type":                true, // a status, or the name of a Go type
	"db.system":                 true,
	"db.redis.num_cmd":          true,
	keyRoute:                    true,
	keyCache:                    true,
	keyCollapsed:                true,
}

// encode returns spans as the collector reads them, about this process.
func encode(about *resourcepb.Resource, batch []sdk.ReadOnlySpan) *tracepb.TracesData {
	// scopes :: who made the spans -> them
	scopes := map[string]*tracepb.ScopeSpans{}
	all := &tracepb.ResourceSpans{Resource: about}
	for _, span := range batch {
		made := span.InstrumentationScope()
		scope, ok := scopes[made.Name]
		if !ok {
			scope = &tracepb.ScopeSpans{Scope: &commonpb.InstrumentationScope{Name: made.Name, Version: made.Version}}
			scopes[made.Name] = scope
			all.ScopeSpans = append(all.ScopeSpans, scope)
		}
		scope.Spans = append(scope.Spans, encodeSpan(span))
	}
	return &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{all}}
}

// encodeSpan leaves out events, links, the status's words and the trace's state: others may have written them.
func encodeSpan(span sdk.ReadOnlySpan) *tracepb.Span {
	of := span.SpanContext()
	traceID, spanID := of.TraceID(), of.SpanID()
	encoded := &tracepb.Span{
		TraceId: traceID[:], SpanId: spanID[:], Flags: uint32(of.TraceFlags()), Name: span.Name(), Kind: kinds[span.SpanKind()],
		StartTimeUnixNano: nanoseconds(span.StartTime()), EndTimeUnixNano: nanoseconds(span.EndTime()),
		Attributes: permit(span.Attributes()), Status: &tracepb.Status{Code: statuses[span.Status().Code]},
	}
	if parent := span.Parent(); parent.HasSpanID() {
		id := parent.SpanID()
		encoded.ParentSpanId = id[:]
	}
	return encoded
}

// kinds :: ours -> OTLP's
var kinds = map[trace.SpanKind]tracepb.Span_SpanKind{
	trace.SpanKindInternal: tracepb.Span_SPAN_KIND_INTERNAL,
	trace.SpanKindServer:   tracepb.Span_SPAN_KIND_SERVER,
	trace.SpanKindClient:   tracepb.Span_SPAN_KIND_CLIENT,
}

// statuses :: ours -> OTLP's
var statuses = map[codes.Code]tracepb.Status_StatusCode{
	codes.Error: tracepb.Status_STATUS_CODE_ERROR,
	codes.Ok:    tracepb.Status_STATUS_CODE_OK,
}

func nanoseconds(date time.Time) uint64 {
	return uint64(max(date.UnixNano(), 0))
}

// permit returns those of the attributes that may leave.
func permit(attributes []attribute.KeyValue) []*commonpb.KeyValue {
	var permitted []*commonpb.KeyValue
	for _, a := range attributes {
		if value := encodeValue(a.Value); allowed[a.Key] && value != nil {
			permitted = append(permitted, &commonpb.KeyValue{Key: string(a.Key), Value: value})
		}
	}
	return permitted
}

// encodeValue returns nil for a value that none of the allowed has.
func encodeValue(value attribute.Value) *commonpb.AnyValue {
	switch value.Type() {
	case attribute.STRING:
		return textValue(value.AsString())
	case attribute.INT64:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: value.AsInt64()}}
	case attribute.BOOL:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: value.AsBool()}}
	}
	return nil
}

func textValue(text string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: text}}
}
