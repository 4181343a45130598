package portal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// canary is in every secret, and in every byte that Portal answers.
const canary = "canary"

const poisoned = `{"error":"canary-error","id":"canary-id","clientSessionToken":"canary-token","clientApiKey":"canary-api-key"}`

// poisons are answers with a canary wherever there is room for one.
func poisons() map[string]http.Handler {
	whole := func(head, body string) http.Handler {
		return hangUp(fmt.Sprintf("HTTP/1.1 %s\r\nX-Canary: canary-header\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body))
	}
	handlers := map[string]http.Handler{
		"no JSON":                     whole("200 canary-reason", "canary-garbage"),
		"a bare string":               whole("200 OK", `"canary-string"`),
		"JSON cut short":              whole("200 OK", `{"id":"canary-id`),
		"an id of another type":       whole("200 OK", `{"id":{"canary-id":"canary-id"}}`),
		"a field of another type":     whole("200 OK", `{"id":"canary-id","clientSessionToken":"canary-token","isAccountAbstracted":"canary"}`),
		"another client's id":         whole("200 OK", poisoned),
		"an id that is none":          whole("200 OK", `{"id":"canary/id","clientSessionToken":"canary-token"}`),
		"a token that fits no header": whole("200 OK", `{"id":"canary-id","clientSessionToken":"canary token"}`),
		"too long":                    whole("200 OK", poisoned+strings.Repeat(" canary", 10<<10)),
		"a redirect":                  whole("302 Found\r\nLocation: https://canary.invalid/canary?canary", poisoned),
		"a redirect to chaos":         whole("302 Found\r\nLocation: http://[canary", poisoned),
		"a wait that is none":         whole("429 Too Many Requests\r\nRetry-After: canary", poisoned),
		"an end within the body":      hangUp("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + poisoned),
		"an end within the header":    hangUp("HTTP/1.1 200 canary-reason\r\nX-Canary: canary"),
		"another protocol":            hangUp("canary-protocol\r\n\r\n" + poisoned),
		"a status that is no number":  hangUp("HTTP/1.1 canary OK\r\n\r\n"),
		"a header that is none":       hangUp("HTTP/1.1 200 OK\r\ncanary header\r\n\r\n"),
		"a header with a NUL":         hangUp("HTTP/1.1 200 OK\r\nX: canary\x00\r\n\r\n"),
		"a length that is none":       hangUp("HTTP/1.1 200 OK\r\nContent-Length: canary\r\n\r\n"),
		"an encoding that is none":    hangUp("HTTP/1.1 200 OK\r\nTransfer-Encoding: canary\r\n\r\n"),
		"a chunk that is none":        hangUp("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ncanary\r\n"),
		"no answer":                   stalled{came: make(chan struct{}, 3)},
		"no end of the answer":        stalled{answer{status: 200, body: poisoned}, make(chan struct{}, 3)},
	}
	for _, status := range []int{300, 307, 400, 401, 403, 404, 408, 409, 410, 422, 425, 429, 500, 502, 503, 504} {
		handlers[fmt.Sprint("status ", status)] = whole(fmt.Sprintf("%d canary-reason", status), poisoned)
	}
	return handlers
}

func TestNoErrorHoldsASecret(t *testing.T) {
	t.Parallel()
	for name, handler := range poisons() {
		for operation, ask := range operations {
			t.Run(name+" to "+string(operation), func(t *testing.T) {
				t.Parallel()
				patience := time.Minute
				if _, stalls := handler.(stalled); stalls {
					patience = 100 * time.Millisecond
				}
				c := newClient(t, serve(t, handler).URL, within(patience), func(p *portal.Parts) {
					p.Key = func() session.Secret { return session.NewSecret("canary-portal-api-key") }
				})
				token, err := ask(t.Context(), c, session.Token{Client: alice, Secret: session.NewSecret("canary-held-token")})
				if err == nil && token.Client != "canary-id" { // which may well be a client's id
					t.Fatal("it was taken")
				}
				wantNoSecret(t, err)
			})
		}
	}
}

func TestNoErrorOfACheckOfTheKeyHoldsASecret(t *testing.T) {
	t.Parallel()
	for name, handler := range poisons() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, serve(t, handler).URL, within(time.Second), func(p *portal.Parts) {
				p.Key = func() session.Secret { return session.NewSecret("canary-portal-api-key") }
			})
			wantNoSecret(t, c.CheckKey(t.Context()))
		})
	}
}

func TestNoErrorHoldsAKeyThatCannotBeSent(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string]string{
		"a line end": "canary\r\nkey", "a NUL": "canary\x00key", "a delete": "canary\x7fkey",
	} {
		for operation, ask := range operations {
			t.Run(name+" to "+string(operation), func(t *testing.T) {
				t.Parallel()
				c := newClient(t, serve(t, answer{status: 500}).URL, func(p *portal.Parts) {
					p.Key = func() session.Secret { return session.NewSecret(secret) }
				})
				_, err := ask(t.Context(), c, session.Token{Client: alice, Secret: session.NewSecret(secret)})
				wantError(t, err, session.ErrPortalUnavailable)
				wantNoSecret(t, err)
			})
		}
	}
}

// wantNoSecret renders err and all that it wraps in every way in which anybody might, and wants no canary in there.
func wantNoSecret(t *testing.T, err error) {
	t.Helper()
	var all bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&all, nil), slog.NewJSONHandler(&all, nil)} {
		slog.New(handler).Info("failed", "error", err)
	}
	for _, e := range unwrapped(err) {
		fmt.Fprintf(&all, "%v %+v %#v %s %q %T\n", e, e, e, e, e, e)
		text, _ := json.Marshal(e)
		all.Write(text)
	}
	if strings.Contains(strings.ToLower(all.String()), canary) {
		t.Errorf("a secret got out:\n%s", &all)
	}
}

// unwrapped returns err and all that it wraps.
func unwrapped(err error) []error {
	if err == nil {
		return nil
	}
	all := []error{err}
	switch e := err.(type) { //nolint:errorlint // it is the tree itself that is walked
	case interface{ Unwrap() error }:
		all = append(all, unwrapped(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, unwrapped(inner)...)
		}
	}
	return all
}

func TestClientAPIKeyIsNeverDecoded(t *testing.T) {
	t.Parallel()
	const clientAPIKey = "canary-client-api-key"
	body := `{"clientApiKey":"` + clientAPIKey + `",` + document(alice, "some-token")[1:]
	for version, paths := range versions {
		for operation, ask := range operations {
			t.Run(fmt.Sprintf("%s from %s", operation, version), func(t *testing.T) {
				t.Parallel()
				c := newClient(t, serve(t, answer{status: 200, body: body}).URL, speaking(paths))
				token, err := ask(t.Context(), c, held)
				if err != nil {
					t.Fatal(err)
				}
				texts := textsIn(reflect.ValueOf(token))
				if len(texts) != 2 {
					t.Errorf("a token holds the texts %q, want its client and its secret", texts)
				}
				for _, text := range texts {
					if strings.Contains(text, canary) {
						t.Errorf("the token holds %q", text)
					}
				}
			})
		}
	}
}

// textsIn returns all texts that a value holds, in unexported fields and behind pointers too.
func textsIn(v reflect.Value) []string {
	var all []string
	switch v.Kind() {
	case reflect.String:
		all = append(all, v.String())
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			all = textsIn(v.Elem())
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return nil
		}
		for _, field := range v.Fields() {
			all = append(all, textsIn(field)...)
		}
	case reflect.Slice:
		for i := range v.Len() {
			all = append(all, textsIn(v.Index(i))...)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			all = append(append(all, textsIn(key)...), textsIn(v.MapIndex(key))...)
		}
	}
	return all
}

// The simulated Portal gives the key away where Portal does; it must not open anything for whoever took it for a token.
func TestTokenOfARegistrationIsTheSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token, err := w.Register(t.Context(), session.Registration{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Probe(t.Context(), token); err != nil {
		t.Error(err)
	}
}

func TestWrappersAddNoSecret(t *testing.T) {
	t.Parallel()
	url := serve(t, answer{status: 503, body: poisoned}).URL
	c := newClient(t, url, func(p *portal.Parts) {
		p.Key = func() session.Secret { return session.NewSecret("canary-portal-api-key") }
	})
	limit := cache.Limit{Requests: 2, Per: time.Hour}
	whole := seasoned(newBudget(c, limit))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, want := range []error{session.ErrPortalUnavailable, session.ErrPortalRateLimited} {
		_, err := whole.Mint(ctx, alice, session.Absent)
		wantError(t, err, want)
		wantNoSecret(t, err)
		err = whole.Probe(ctx, session.Token{Client: alice, Secret: session.NewSecret("canary-held-token")})
		wantError(t, err, want)
		wantNoSecret(t, err)
		if errors.Is(err, session.ErrPortalRateLimited) != (session.RetryAfter(err) > 0) {
			t.Errorf("to come back in %s: %v", session.RetryAfter(err), err)
		}
	}
}
