package proxy

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Hits answers the plainest of requests, and by far the most frequent, on the connection itself: a fetch, in one piece, of a
// token that is remembered and served as it is. What it answers is what the [Server] would, byte for byte but for request ids
// and dates; net/http takes five times as long to get there. Every other request goes to net/http as it came.
//
// It is for a Server whose callers need no more than a Host to be let in, and that keeps no audit, traces nothing and passes
// nothing on.
type Hits struct {
	parts  HitParts
	limits hitLimits
	// ended is held for reading while a hit is answered, and for good once there are to be no more.
	ended sync.RWMutex
	date  atomic.Pointer[dateLine]
}

// HitParts is what a [Hits] is made of. Every field is required.
type HitParts struct {
	Server *Server
	// Host reports whether a request with this Host may ask.
	Host func(host string, local net.Addr) bool
	// Connections has those of the server.
	Connections *Connections
}

// dateLine is the value of a Date header, which is good for a second.
type dateLine struct {
	second int64
	text   string
}

// NewHits returns a Hits made of parts. The server's listener must be wrapped, and the server guarded before it serves.
func NewHits(parts HitParts) *Hits { return &Hits{parts: parts} }

// Stop waits for the hits that are being answered, and lets no other begin: from then on net/http answers all.
func (h *Hits) Stop() { h.ended.Lock() }

// plain is a request that may be a hit.
type plain struct {
	client, id []byte
	host       []byte
}

// parsePlain reads a request that is nothing but a fetch without a wish. What else there is, and be it a header that is not
// known here, is for net/http.
func parsePlain(text []byte) (p plain, ok bool) {
	rest, ok := bytes.CutPrefix(text, []byte("GET /v1/clients/"))
	if !ok || !bytes.HasSuffix(rest, []byte("\r\n\r\n")) {
		return p, false
	}
	end := bytes.IndexByte(rest, '/')
	if end < 0 {
		return p, false
	}
	p.client = rest[:end]
	rest, ok = bytes.CutPrefix(rest[end:], []byte("/token HTTP/1.1\r\n"))
	for ok && len(rest) > len("\r\n") {
		line, more, _ := bytes.Cut(rest, []byte("\r\n"))
		ok = p.header(line)
		rest = more
	}
	return p, ok && len(rest) == len("\r\n") && p.host != nil
}

// header takes a line of the header, and reports whether it is one that a plain request may have.
func (p *plain) header(line []byte) bool {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !printable(value) {
		return false
	}
	value = bytes.TrimSpace(value)
	switch {
	case equalFold(name, "host"):
		ok = p.host == nil && isHost(value)
		p.host = value
	case equalFold(name, "x-request-id"):
		ok = p.id == nil && isRequestID(string(value))
		p.id = value
	case equalFold(name, "connection"):
		ok = equalFold(value, "keep-alive")
	default:
		ok = saysNothing(name)
	}
	return ok
}

// isHost reports whether value is a host and perhaps a port, of which net/http allows more.
func isHost(value []byte) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]"
	return len(value) > 0 && len(bytes.Trim(value, letters)) == 0
}

// saysNothing reports whether a header is one that changes no answer.
func saysNothing(name []byte) bool {
	return equalFold(name, "user-agent") || equalFold(name, "accept") || equalFold(name, "accept-encoding") || equalFold(name, "accept-language")
}

// equalFold compares text with one in lower case.
func equalFold(text []byte, lower string) bool {
	return len(text) == len(lower) && bytes.EqualFold(text, []byte(lower))
}

func printable(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// answer appends the answer to a request that is a hit, and returns what is to be said of it; else it returns nothing.
func (h *Hits) answer(ctx context.Context, to []byte, p plain) ([]byte, hitLine) {
	s := h.parts.Server
	client, err := session.ParseClientID(string(p.client))
	if err != nil {
		return nil, hitLine{}
	}
	began := time.Now()
	grant, ok := h.grant(ctx, client)
	if !ok {
		return nil, hitLine{}
	}
	document := s.tokenDocument(grant, grant.At)
	to = append(to, "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nCache-Status: cstproxy; hit; ttl="...)
	to = strconv.AppendInt(to, document.ExpiresIn, 10)
	to = append(to, "\r\nContent-Type: application/json\r\nX-Request-Id: "...)
	idAt := len(to)
	if to = append(to, p.id...); len(p.id) == 0 {
		to = appendRequestID(to)
	}
	id := to[idAt:]
	to = append(append(to, "\r\nDate: "...), h.now(began)...)
	to = appendBody(append(to, "\r\nContent-Length: "...), document)
	took := time.Since(began)
	s.parts.Meter.Hit(fetchPlace.path, document.ExpiresAt.Sub(grant.At), took)
	return to, hitLine{began.Add(took), took, id}
}

// grant counts as one of the requests that the Server works at, which turns away what is too much.
func (h *Hits) grant(ctx context.Context, client session.ClientID) (session.Grant, bool) {
	s := h.parts.Server
	defer s.inFlight.Add(-1)
	if s.crowded(s.inFlight.Add(1)) {
		return session.Grant{}, false
	}
	return s.parts.Broker.Hit(ctx, client)
}

// fetchPlace is where a fetch comes in.
var fetchPlace = place{http.MethodGet, "/v1/clients/:clientId/token"} //nolint:gochecknoglobals // a constant

// appendBody appends the length of the document, the end of the header, and the document.
func appendBody(to []byte, document tokenDocument) []byte {
	var text [1024]byte
	body := append(document.appendTo(text[:0]), '\n')
	to = strconv.AppendInt(to, int64(len(body)), 10)
	return append(append(to, "\r\n\r\n"...), body...)
}

// now returns the value of a Date header.
func (h *Hits) now(at time.Time) string {
	line := h.date.Load()
	if line == nil || line.second != at.Unix() {
		line = &dateLine{second: at.Unix(), text: at.UTC().Format(http.TimeFormat)}
		h.date.Store(line)
	}
	return line.text
}
