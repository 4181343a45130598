package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// maxRepeated is the longest body that is kept so that it can be sent once more.
const maxRepeated = maxBody

// maxStripped is far above a page of clients, and what is kept of an answer while credentials are taken out.
const maxStripped = 4 << 20

// forward sends the request on, and its answer back. The error is what went wrong before there was any.
func (p *passing) forward() error {
	through := p.server.parts.Passthrough
	ctx, cancel := context.WithTimeout(p.c.Request().Context(), through.Timeout)
	defer cancel()
	request := p.c.Request().WithContext(ctx)
	if err := p.keepBody(request); err != nil {
		return err
	}
	p.grantTime(through.Timeout) // once what must arrive at once has
	response := p.c.Response()
	response.Header().Del("Cache-Control") // Portal's own says what it wants
	(&httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      p,
		FlushInterval:  -1,
		ModifyResponse: p.modify,
		ErrorHandler:   func(_ http.ResponseWriter, _ *http.Request, err error) { p.err = err },
		ErrorLog:       p.server.silent,
		BufferPool:     &p.server.buffers,
	}).ServeHTTP(response.Writer, request) // Echo's own takes the first status for the last, though it be 1xx
	if p.err != nil {
		response.Header().Set("Cache-Control", "no-store")
	}
	return p.err
}

// buffers are what answers are copied with. The zero buffers is ready; it is safe for concurrent use.
type buffers struct{ pool sync.Pool }

// Get implements [httputil.BufferPool].
func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32<<10)
}

// Put implements [httputil.BufferPool]. What was in the buffer stays in memory for as long as it would have.
func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }

// grantTime has the connection's own deadlines let the exchange go on for as long as it may take.
func (p *passing) grantTime(timeout time.Duration) {
	const lastWords = 5 * time.Second
	control, until := http.NewResponseController(p.c.Response()), time.Now().Add(timeout+lastWords)
	_ = control.SetReadDeadline(until) // where there is none, there is none to extend
	_ = control.SetWriteDeadline(until)
}

// keepBody reads a body that is short enough to be sent once more.
func (p *passing) keepBody(r *http.Request) error {
	if r.ContentLength > maxRepeated {
		return nil
	}
	var kept bytes.Buffer
	_, err := io.CopyN(&kept, r.Body, maxRepeated+1)
	switch {
	case errors.Is(err, io.EOF):
		p.whole = true
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(&kept), int64(kept.Len()), nil
		return nil
	case err != nil:
		return fmt.Errorf("%w: its body did not arrive", session.ErrInvalidRequest)
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&kept, r.Body), r.Body}
	return nil
}

// rewrite turns the request that came into the one that leaves: to Portal, and with nothing along that is not for Portal.
func (p *passing) rewrite(both *httputil.ProxyRequest) {
	through, out := p.server.parts.Passthrough, both.Out
	base, target := through.APIURL, p.c.Request().RequestURI
	if p.family == session.RouteEnclave {
		base, target = through.MPCURL, strings.TrimPrefix(target, enclaveHere)
	}
	out.URL, out.Host, out.Trailer = at(base, target), "", nil
	for name := range out.Header {
		if isOurs(name) || p.mode != ModeObserve && (name == headerAuthorization || name == "Cookie") {
			out.Header.Del(name)
		}
	}
	if p.looksInto() {
		out.Header.Del("Accept-Encoding")
		out.Header.Del("Range") // a part of an answer may be a credential without its name
		out.Header.Del("If-Range")
	}
}

// at returns a place below base, by a target that was checked.
func at(base *url.URL, target string) *url.URL {
	path, query, asks := strings.Cut(target, "?")
	u := *base
	u.RawPath = strings.TrimSuffix(base.EscapedPath(), "/") + path
	u.Path, _ = url.PathUnescape(u.RawPath) // its escapes were checked
	u.RawQuery, u.ForceQuery = query, asks
	return &u
}

// isOurs reports whether a header is for this proxy, tells of the way here, or has whoever reads it see another request than
// was judged here.
func isOurs(name string) bool {
	for _, beginning := range []string{"X-Forwarded", "X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "X-Original", "X-Rewrite", "X-Http-Method", "X-Method-Override"} {
		if strings.HasPrefix(name, beginning) {
			return true
		}
	}
	return name == headerClient || name == "Forwarded" || name == "Via" || name == "Expect" || name == "X-Request-Id"
}

// modify has a line of the audit written, before the answer goes to the caller, and takes out of it what must not.
func (p *passing) modify(answer *http.Response) error {
	if p.looksInto() {
		if err := p.stripAnswer(answer); err != nil {
			return err
		}
	}
	err := p.server.record(p.c, outcome{event: EventPassed, status: answer.StatusCode, client: p.client, token: p.token.ID, decision: string(p.mode)})
	if err != nil {
		return p.once(err)
	}
	response := p.c.Response()
	if answer.Header["X-Request-Id"] != nil {
		response.Header().Del("X-Request-Id") // Portal's own is what the caller gets
	}
	if answer.Header[echo.HeaderContentType] == nil {
		response.Header()[echo.HeaderContentType] = nil // or net/http would guess one
	}
	response.Status, response.Committed = answer.StatusCode, true
	return nil
}

// looksInto reports whether an answer may hold a credential that never expires: what the Portal API Key opens does, and what the
// older versions tell a client of itself. To a device, which has that from Portal anyway, it goes as it is.
func (p *passing) looksInto() bool {
	path, _, _ := strings.Cut(p.c.Request().RequestURI, "?")
	return p.mode == ModeKey || p.mode == ModeInject && (path == "/api/v1/clients/me" || path == "/api/v2/clients/me")
}

// isPart reports whether an answer's body is not the whole text that it stands for.
func isPart(answer *http.Response) bool {
	return answer.StatusCode == http.StatusPartialContent || answer.Header.Get("Content-Encoding") != ""
}

// stripAnswer takes what never expires out of an answer. What can't be looked into is not passed on.
func (p *passing) stripAnswer(answer *http.Response) error {
	if p.mode == ModeKey && answer.StatusCode == http.StatusUnauthorized {
		return session.ErrPortalUnauthorized // it is the key that was refused, not the caller
	}
	if p.mode == ModeKey {
		answer.Header.Del("Set-Cookie")
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxStripped+1))
	if err != nil {
		return session.ErrPortalUnavailable
	}
	_ = answer.Body.Close()
	stripped := text
	if len(text) > 0 {
		stripped, err = strip(text, p.server.parts.Passthrough.Key().Reveal())
	}
	if err != nil || len(text) > maxStripped || isPart(answer) {
		return fmt.Errorf("%w: it is not JSON of at most 4 MiB", session.ErrPortalBadResponse)
	}
	answer.Body = io.NopCloser(bytes.NewReader(stripped))
	if len(stripped) != len(text) {
		answer.ContentLength = int64(len(stripped))
		answer.Header.Set("Content-Length", strconv.Itoa(len(stripped)))
	}
	return nil
}
