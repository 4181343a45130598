package portal_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

func TestRequestsAreWhatPortalDocuments(t *testing.T) {
	t.Parallel()
	const key = "Bearer " + portaltest.DefaultKey
	post := func(uri, body string) arrival {
		return arrival{Method: "POST", URI: uri, Proto: "HTTP/1.1", Body: body, Header: http.Header{
			"Authorization": {key}, "Accept": {"application/json"}, "Content-Type": {"application/json"},
			"User-Agent": {"cstproxy/test"}, "Content-Length": {fmt.Sprint(len(body))},
		}}
	}
	whoAmI := arrival{Method: "GET", URI: "/api/v3/clients/me", Proto: "HTTP/1.1", Header: http.Header{
		"Authorization": {"Bearer held-token"}, "Accept": {"application/json"}, "User-Agent": {"cstproxy/test"},
	}}
	mint := func(c *portal.Client) error {
		_, err := c.Mint(t.Context(), alice, session.Absent)
		return err
	}
	register := func(abstracted bool) func(*portal.Client) error {
		return func(c *portal.Client) error {
			_, err := c.Register(t.Context(), session.Registration{AccountAbstracted: abstracted, Key: "not Portal's business"})
			return err
		}
	}
	probe := func(c *portal.Client) error { return c.Probe(t.Context(), held) }
	list := arrival{Method: "GET", URI: "/api/v3/custodians/me/clients?take=1", Proto: "HTTP/1.1", Header: http.Header{
		"Authorization": {key}, "Accept": {"application/json"}, "User-Agent": {"cstproxy/test"},
	}}
	check := func(c *portal.Client) error { return c.CheckKey(t.Context()) }
	for name, tc := range map[string]struct {
		paths portal.Paths
		ask   func(*portal.Client) error
		want  arrival
	}{
		"v1 mints at the client's session": {
			portal.V1, mint, post("/api/v1/custodians/clients/"+string(alice)+"/session", "{}"),
		},
		"v3 mints at the client's sessions": {
			portal.V3, mint, post("/api/v3/custodians/me/clients/"+string(alice)+"/sessions", "{}"),
		},
		"v1 registers at its clients": {portal.V1, register(false), post("/api/v1/custodians/clients", "{}")},
		"v3 registers at its clients": {portal.V3, register(false), post("/api/v3/custodians/me/clients", "{}")},
		"v1 registers an abstracted account": {
			portal.V1, register(true), post("/api/v1/custodians/clients", `{"isAccountAbstracted":true}`),
		},
		"v3 registers an abstracted account": {
			portal.V3, register(true), post("/api/v3/custodians/me/clients", `{"isAccountAbstracted":true}`),
		},
		"v1 probes where no clientApiKey is answered": {portal.V1, probe, whoAmI},
		"v3 probes there too":                         {portal.V3, probe, whoAmI},
		"v1 checks the key by v3's list":              {portal.V1, check, list},
		"v3 checks the key by its list":               {portal.V3, check, list},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &observed{next: answer{status: http.StatusOK, body: document(alice, "some-token")}}
			if err := tc.ask(newClient(t, serve(t, o).URL, speaking(tc.paths))); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]arrival{tc.want}, o.arrivals()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// document is Portal's answer to a mint or a registration; to a probe it would do as well.
func document(client session.ClientID, token string) string {
	text, err := json.Marshal(map[string]any{"id": client, "clientSessionToken": token, "isAccountAbstracted": false})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestKeyIsTheOneOfTheMoment(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	o := &observed{next: answer{status: http.StatusOK, body: document(alice, "some-token")}}
	c := newClient(t, serve(t, o).URL, func(p *portal.Parts) {
		p.Key = func() session.Secret { return session.NewSecret(fmt.Sprintf("key-%d", asked.Add(1))) }
	})
	for range 2 {
		if _, err := c.Mint(t.Context(), alice, session.Absent); err != nil {
			t.Error(err)
		}
		if _, err := c.Register(t.Context(), session.Registration{}); err != nil {
			t.Error(err)
		}
	}
	for i, a := range o.arrivals() {
		if got, want := a.Header.Get("Authorization"), fmt.Sprintf("Bearer key-%d", i+1); got != want {
			t.Errorf("request %d went with %q, want %q", i+1, got, want)
		}
	}
}

func TestTokenComesWholeAndUndated(t *testing.T) {
	t.Parallel()
	for version, paths := range versions {
		for _, abstracted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, account abstracted: %t", version, abstracted), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, speaking(paths))
				registered, err := w.Register(t.Context(), session.Registration{AccountAbstracted: abstracted})
				if err != nil {
					t.Fatal(err)
				}
				w.wantGood(t, registered, session.Token{Client: registered.Client, AccountAbstracted: abstracted})
				if _, err := session.ParseClientID(string(registered.Client)); err != nil {
					t.Error(err)
				}
				minted, err := w.Mint(t.Context(), registered.Client, session.Absent)
				if err != nil {
					t.Fatal(err)
				}
				w.wantGood(t, minted, session.Token{Client: registered.Client, AccountAbstracted: abstracted})
				if minted.ID == registered.ID {
					t.Error("the mint brought the token that there was")
				}
				if s := w.sim.Stats(); s.Registrations != 1 || s.Mints != 1 || s.Probes != 0 || s.Requests != 2 {
					t.Errorf("Portal did %+v", s)
				}
			})
		}
	}
}

// wantGood wants a token that Portal accepts, and beside it what want says.
func (w *world) wantGood(t *testing.T, token, want session.Token) {
	t.Helper()
	if !w.sim.Accepts(token.Secret.Reveal()) {
		t.Error("Portal doesn't accept the token")
	}
	want.ID, want.Secret = session.IdentifyToken(token.Secret), token.Secret
	if diff := cmp.Diff(want, token, cmp.Comparer(session.Secret.Equal)); diff != "" {
		t.Errorf("token (-want +got):\n%s", diff)
	}
}

func TestProbeSlidesTheTokenAtPortal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before, _ := w.sim.ActiveAt(w.token.Secret.Reveal())
	if err := w.Probe(t.Context(), w.token); err != nil {
		t.Error(err)
	}
	if after, _ := w.sim.ActiveAt(w.token.Secret.Reveal()); !after.After(before) {
		t.Errorf("active at %s, before the probe at %s", after, before)
	}
}

func TestAnySuccessWillDo(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 201, 202, 203, 206, 207, 226, 299} {
		for operation, ask := range operations {
			t.Run(fmt.Sprintf("%d to %s", status, operation), func(t *testing.T) {
				t.Parallel()
				c := newClient(t, serve(t, answer{status: status, body: document(alice, "some-token")}).URL)
				token, err := ask(t.Context(), c, held)
				if err != nil || token.Client != alice {
					t.Errorf("%+v, %v", token, err)
				}
			})
		}
	}
}

func TestAnswerThatCannotBeUsedIsRefused(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"nothing":                      "",
		"no JSON":                      "<html><body>It works!</body></html>",
		"JSON cut short":               `{"id":"` + string(alice) + `","clientSessionToken":"some-tok`,
		"something after the JSON":     document(alice, "some-token") + "{}",
		"null":                         "null",
		"a bare string":                `"some-token"`,
		"a list":                       "[" + document(alice, "some-token") + "]",
		"a nested document":            `{"data":` + document(alice, "some-token") + `}`,
		"an empty object":              "{}",
		"an id that is a number":       `{"id":7,"clientSessionToken":"some-token"}`,
		"an id that is nested":         `{"id":{"id":"` + string(alice) + `"},"clientSessionToken":"some-token"}`,
		"no id":                        `{"clientSessionToken":"some-token"}`,
		"an empty id":                  document("", "some-token"),
		"a success that tells a error": `{"error":"Unauthorized"}`,
	} {
		for operation, ask := range operations {
			t.Run(name+" to "+string(operation), func(t *testing.T) {
				t.Parallel()
				token, err := ask(t.Context(), newClient(t, serve(t, answer{status: 200, body: body}).URL), held)
				wantError(t, err, session.ErrPortalBadResponse)
				if operation != portaltest.Probe {
					wantNothing(t, token)
				}
			})
		}
	}
}

func TestTokenThatDoesNotFitAHeaderIsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		token string
		want  error
	}{
		"all that is visible ASCII":     {"!\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~", nil},
		"a single character":            {"x", nil},
		"as long as is taken":           {strings.Repeat("x", 8<<10), nil},
		"one longer":                    {strings.Repeat("x", 8<<10+1), session.ErrPortalBadResponse},
		"9 KiB":                         {strings.Repeat("x", 9<<10), session.ErrPortalBadResponse},
		"none":                          {"", session.ErrPortalBadResponse},
		"a line feed":                   {"some\ntoken", session.ErrPortalBadResponse},
		"a carriage return":             {"some\rtoken", session.ErrPortalBadResponse},
		"another header smuggled in":    {"some-token\r\nX-Admin: true", session.ErrPortalBadResponse},
		"a line end at its end":         {"some-token\n", session.ErrPortalBadResponse},
		"a space":                       {"some token", session.ErrPortalBadResponse},
		"a space before it":             {" some-token", session.ErrPortalBadResponse},
		"a tab":                         {"some\ttoken", session.ErrPortalBadResponse},
		"a NUL":                         {"some\x00token", session.ErrPortalBadResponse},
		"a delete":                      {"some\x7ftoken", session.ErrPortalBadResponse},
		"an umlaut":                     {"tökén", session.ErrPortalBadResponse},
		"a character beyond the planes": {"some🔑token", session.ErrPortalBadResponse},
	} {
		for _, operation := range []portaltest.Operation{portaltest.Mint, portaltest.Register} {
			t.Run(name+" to "+string(operation), func(t *testing.T) {
				t.Parallel()
				c := newClient(t, serve(t, answer{status: 200, body: document(alice, tc.token)}).URL)
				token, err := operations[operation](t.Context(), c, held)
				wantError(t, err, tc.want)
				if tc.want != nil {
					wantNothing(t, token)
				} else if token.Secret.Reveal() != tc.token {
					t.Errorf("the token is %q", token.Secret.Reveal())
				}
			})
		}
	}
	for name, raw := range map[string]string{
		"bytes that are no UTF-8": "{\"id\":\"" + string(alice) + "\",\"clientSessionToken\":\"some\xfftoken\"}",
		"half a surrogate pair":   `{"id":"` + string(alice) + `","clientSessionToken":"some\ud83dtoken"}`,
		"a number":                `{"id":"` + string(alice) + `","clientSessionToken":1234}`,
		"null":                    `{"id":"` + string(alice) + `","clientSessionToken":null}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token, err := newClient(t, serve(t, answer{status: 200, body: raw}).URL).Mint(t.Context(), alice, session.Absent)
			wantError(t, err, session.ErrPortalBadResponse)
			wantNothing(t, token)
		})
	}
}

func TestRegisteredClientNeedsAnIDThatFitsAPath(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		id   session.ClientID
		want error
	}{
		"Portal's own form":    {alice, nil},
		"128 characters":       {session.ClientID(strings.Repeat("a", 128)), nil},
		"129 characters":       {session.ClientID(strings.Repeat("a", 129)), session.ErrPortalBadResponse},
		"none":                 {"", session.ErrPortalBadResponse},
		"a slash":              {"a/b", session.ErrPortalBadResponse},
		"a way up":             {"..", session.ErrPortalBadResponse},
		"a query":              {"a?b", session.ErrPortalBadResponse},
		"a fragment":           {"a#b", session.ErrPortalBadResponse},
		"an escape":            {"a%2fb", session.ErrPortalBadResponse},
		"a line end":           {"a\r\nb", session.ErrPortalBadResponse},
		"a space":              {"a b", session.ErrPortalBadResponse},
		"what only looks like": {"сm0r6nkek00ej10dwwx8wdjmf", session.ErrPortalBadResponse}, // Cyrillic
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, serve(t, answer{status: 201, body: document(tc.id, "some-token")}).URL)
			token, err := c.Register(t.Context(), session.Registration{})
			wantError(t, err, tc.want)
			if tc.want != nil {
				wantNothing(t, token)
			} else if token.Client != tc.id {
				t.Errorf("the client is %q", token.Client)
			}
		})
	}
}

func TestAnotherClientsAnswerIsNotUsed(t *testing.T) {
	t.Parallel()
	for name, id := range map[string]session.ClientID{
		"another id": "cm0r6nkek00ej10dwwx8wdjmg", "an id that only begins alike": alice + "0", "the id in capitals": "CM0R6NKEK00EJ10DWWX8WDJMF",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, serve(t, answer{status: 200, body: document(id, "some-token")}).URL)
			token, err := c.Mint(t.Context(), alice, session.Absent)
			wantError(t, err, session.ErrPortalBadResponse)
			wantNothing(t, token)
			wantError(t, c.Probe(t.Context(), held), session.ErrTokenRejected)
		})
	}
}

func TestAnswerMayBe64KiBLongAndNotAByteMore(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		size int
		want error
	}{
		"64 KiB": {64 << 10, nil}, "a byte more": {64<<10 + 1, session.ErrPortalBadResponse},
	} {
		for operation, ask := range operations {
			t.Run(name+" to "+string(operation), func(t *testing.T) {
				t.Parallel()
				body := document(alice, "some-token")
				body = strings.Repeat(" ", tc.size-len(body)) + body
				_, err := ask(t.Context(), newClient(t, serve(t, answer{status: 200, body: body}).URL), held)
				wantError(t, err, tc.want)
			})
		}
	}
}
