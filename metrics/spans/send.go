package spans

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// sender is a [sdk.SpanExporter]: it sends spans by OTLP over HTTP, as protobuf
// (https://opentelemetry.io/docs/specs/otlp/#otlphttp). The SDK's own would bring gRPC along, and most of the binary's
// size again. Nothing is sent twice: what the collector does not take at once is dropped.
type sender struct {
	url       string
	about     *resourcepb.Resource
	dropped   func(why string, spans int)
	log       *slog.Logger
	transport *http.Transport
	headers   atomic.Pointer[map[string]session.Secret]
	// waiting is how many spans were taken in and not yet sent.
	waiting atomic.Int64
	// failing: the last request failed, which was said.
	failing atomic.Bool

	cut     chan struct{} // closed when there is no more time
	cutOnce sync.Once
}

func newSender(parts Parts, about *resourcepb.Resource) *sender {
	return &sender{
		url: parts.Endpoint + "/v1/traces", about: about, dropped: parts.Dropped, log: parts.Log, cut: make(chan struct{}),
		transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: sendTime}).DialContext,
			TLSHandshakeTimeout: sendTime,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
			MaxIdleConns:        1,
			IdleConnTimeout:     time.Minute,
		},
	}
}

// take takes headers for the requests from now on.
func (s *sender) take(text session.Secret) error {
	headers, err := ParseHeaders(text)
	if err == nil {
		s.headers.Store(&headers)
	}
	return err
}

// ExportSpans implements [sdk.SpanExporter]. It returns no error, since the SDK could only print it.
func (s *sender) ExportSpans(ctx context.Context, batch []sdk.ReadOnlySpan) error {
	defer s.waiting.Add(-int64(len(batch)))
	err := s.send(ctx, batch)
	if err != nil {
		s.dropped(dropUnsent, len(batch))
	}
	if was := s.failing.Swap(err != nil); err != nil && !was {
		s.log.WarnContext(ctx, "collector does not take spans, they are dropped", "error", err)
	} else if err == nil && was {
		s.log.InfoContext(ctx, "collector takes spans again")
	}
	return nil
}

// errNotTaken has no word of the collector's.
var errNotTaken = errors.New("the collector did not take them")

func (s *sender) send(ctx context.Context, batch []sdk.ReadOnlySpan) error {
	body, err := proto.Marshal(encode(s.about, batch))
	if err != nil {
		return fmt.Errorf("encode spans: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	go s.cancelWhenCut(ctx, cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("build the request: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	for name, value := range *s.headers.Load() {
		request.Header.Set(name, value.Reveal())
	}
	// Without an http.Client, which would follow redirects, and carry the headers along.
	answer, err := s.transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("send spans: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.CopyN(io.Discard, answer.Body, 1<<16)
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("%w (status %d)", errNotTaken, answer.StatusCode)
	}
	return nil
}

// cancelWhenCut ends with ctx, which ends with the request.
func (s *sender) cancelWhenCut(ctx context.Context, cancel context.CancelFunc) {
	select {
	case <-s.cut:
		cancel()
	case <-ctx.Done():
	}
}

// hurry ends the request under way, and has those after it fail at once.
func (s *sender) hurry() { s.cutOnce.Do(func() { close(s.cut) }) }

func (s *sender) close() { s.transport.CloseIdleConnections() }

// Shutdown implements [sdk.SpanExporter].
func (s *sender) Shutdown(context.Context) error { return nil }
