package caller_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// fromPage is a request that the status page sends, changed.
func fromPage(change func(*http.Request)) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/lifeline", http.NoBody)
	r.Host, r.RemoteAddr = "127.0.0.1:9090", "127.0.0.1:54321"
	r.Header.Set("Origin", "http://127.0.0.1:9090")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Sec-Fetch-Mode", "cors")
	change(r)
	return r
}

func onSocket(r *http.Request) *http.Request {
	r.RemoteAddr = "@"
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{Name: "/run/admin.sock", Net: "unix"})))
}

func at(host string) func(*http.Request) {
	return func(r *http.Request) {
		r.Host = host
		r.Header.Set("Origin", "http://"+host)
	}
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func from(peer string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = peer }
}

func TestPageIsThisMachinesOwn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*http.Request)
		says   string // "" if it is let in
	}{
		"as the page asks":                      {func(*http.Request) {}, ""},
		"by localhost, as port-forward has it":  {at("localhost:9090"), ""},
		"by another address of this machine":    {at("192.0.2.7:9090"), ""},
		"by an IPv6 address":                    {at("[::1]:9090"), ""},
		"without a port":                        {at("127.0.0.1"), ""},
		"from IPv6's loopback":                  {from("[::1]:54321"), ""},
		"from a mapped loopback":                {from("[::ffff:127.0.0.1]:54321"), ""},
		"without a browser":                     {func(r *http.Request) { r.Header = http.Header{} }, ""},
		"from an older browser":                 {func(r *http.Request) { r.Header.Del("Sec-Fetch-Site") }, ""},
		"from another machine":                  {from("192.0.2.9:54321"), "another machine"},
		"from another that has our name":        {func(r *http.Request) { at("localhost:9090")(r); from("192.0.2.9:54321")(r) }, "another machine"},
		"from nobody knows where":               {from(""), "another machine"},
		"by a name":                             {at("attacker.example:9090"), "a name"},
		"by a name that ends in an address":     {at("attacker.127.0.0.1:9090"), "a name"},
		"by a name that begins with an address": {at("127.0.0.1.nip.io"), "a name"},
		"by no name":                            {at(""), "a name"},
		"from a page elsewhere":                 {header("Sec-Fetch-Site", "cross-site"), "another page"},
		"from a page on another port":           {header("Sec-Fetch-Site", "same-site"), "another page"},
		"from an older browser's other page": {func(r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set("Origin", "http://127.0.0.1:8000")
		}, "another page"},
		"through a proxy":             {header("X-Forwarded-Proto", "http"), "Forwarded"},
		"through a proxy, misspelled": {header("X_Forwarded_For", ""), "Forwarded"},
		"through another kind":        {header("Via", "1.1 x"), "Forwarded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			who, err := caller.NewPage().Identify(fromPage(c.change))
			if c.says == "" {
				if err != nil || who.Name != "status page" || !who.MayUse(session.RouteInspect) || who.MayUse(session.RouteToken) {
					t.Errorf("caller %+v, error %v", who, err)
				}
				return
			}
			if !errors.Is(err, session.ErrCallerForbidden) || !strings.Contains(err.Error(), c.says) || who.Name != "" {
				t.Errorf("caller %+v, error %v", who, err)
			}
		})
	}
}

func TestPageIsReachedThroughAUnixSocket(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{"localhost": true, "unix": true, "%2Frun%2Fadmin.sock": true, "attacker.example": false} {
		r := onSocket(fromPage(func(r *http.Request) { r.Host = host; r.Header = http.Header{} }))
		if _, err := caller.NewPage().Identify(r); (err == nil) != want {
			t.Errorf("Host %s: %v", host, err)
		}
	}
}

func TestPageIsNoCallerOfAFile(t *testing.T) {
	t.Parallel()
	who, err := caller.NewPage().Identify(fromPage(func(*http.Request) {}))
	if err != nil || caller.IsName(who.Name) {
		t.Errorf("a callers file may name %q, %v", who.Name, err)
	}
}

func TestPageHasARate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		page := caller.NewPage()
		spend := func() (admitted int) {
			for page.Admit(session.Caller{}) == nil {
				admitted++
			}
			return admitted
		}
		if got := spend(); got != 20 {
			t.Errorf("%d at once", got)
		}
		time.Sleep(time.Second)
		if got := spend(); got != 10 {
			t.Errorf("%d a second later", got)
		}
	})
}
