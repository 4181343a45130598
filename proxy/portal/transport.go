package portal

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"
)

// NewTransport returns what requests to Portal go over; proxy returns the proxy for one, nil for none, and may be nil.
func NewTransport(proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	return &http.Transport{
		Proxy:               proxy,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		// Without pings a connection that died in silence stays in use, and every request on it times out.
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true, // small answers, and their size is bounded as it is on the wire
		MaxResponseHeaderBytes: maxAnswer,
	}
}

type asked struct{}

// asking notes what is asked of Portal, for what wraps the transport.
func (c *Client) asking(ctx context.Context, operation operation) context.Context {
	if c.parts.Wrap == nil {
		return ctx
	}
	return context.WithValue(ctx, asked{}, operation)
}

// Asked returns what the request with this context asks of Portal, in a word: of a closed set.
func Asked(ctx context.Context) string {
	switch of, _ := ctx.Value(asked{}).(operation); of {
	case mint:
		return "mint"
	case register:
		return "register"
	case probe:
		return "refresh"
	case check:
		return "key check"
	}
	return "request"
}
