package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// TestNothingThatIsWrittenHoldsASecret has everything go right and wrong that can, at the most talkative level, and
// then looks for every secret that came near in all that the process wrote and answered, but for the tokens' own answers.
func TestNothingThatIsWrittenHoldsASecret(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			var secrets secrets
			key, password := secrets.make("portal-key-"), secrets.make("redis-password-")
			portal, environ := simulated(t, portaltest.Options{APIKey: key, AnyClient: true}, secrets.listen)
			redis := redistest.Start(t)
			redis.Do("ACL", "SETUSER", "cstproxy", "on", ">"+password, "~*", "&*", "+@all")
			environ = append(environ, "REDIS_URL=redis://cstproxy:"+password+"@"+redis.Addr(),
				"CSTPROXY_LOG_LEVEL=debug", "CSTPROXY_LOG_FORMAT="+format, "CSTPROXY_AUDIT=log")
			c := serve(t, environ...)

			var said bytes.Buffer
			busyDay(c, portal, redis, &said)
			for _, path := range []string{"/metrics", "/readyz?verbose", "/livez", "/startupz", "/version"} {
				said.Write(c.get(c.admin + path).body)
			}
			c.signal(syscall.SIGTERM)
			c.wait()
			said.WriteString(c.written.String())
			for _, wrong := range misconfigured(environ, &secrets) {
				said.WriteString(wrongStart(t, wrong))
			}

			if c.written.String() == "" || !strings.Contains(said.String(), "alice") {
				t.Error("the run left no trace, so it shows nothing")
			}
			if n := secrets.seen(); n < 8 {
				t.Errorf("only %d secrets came near", n)
			}
			secrets.checkAbsent(t, said.String())
		})
	}
}

// busyDay does what callers do, rightly and wrongly, while Portal and Redis fail in turn. What is not a token's own
// answer goes to said.
func busyDay(c *child, portal *portaltest.Portal, redis *redistest.Server, said *bytes.Buffer) {
	c.t.Helper()
	ask := func(method, path, body string, headers ...string) {
		got, err := c.ask(method, c.data+path, body, headers...)
		switch {
		case err != nil:
			c.t.Error(err)
		case !bytes.Contains(got.body, []byte(`"clientSessionToken"`)):
			said.Write(got.body)
		}
		for name, values := range got.header {
			said.WriteString(name + ": " + strings.Join(values, ", ") + "\n")
		}
	}
	alice := c.mustFetch("alice", "")
	ask(http.MethodGet, "/v1/clients/alice/token?minTtl=24h", "")
	ask(http.MethodGet, "/v1/clients/alice", "")
	ask(http.MethodPost, "/v1/clients/alice/activity", `{"tokenId":"`+alice.TokenID+`"}`)
	ask(http.MethodPost, "/v1/clients", `{"isAccountAbstracted":true}`, "Idempotency-Key: a-key")
	ask(http.MethodPost, "/api/v1/custodians/clients", "")
	ask(http.MethodPost, "/api/v3/custodians/me/clients/bob/sessions", "")
	// A caller puts the token where it does not belong.
	ask(http.MethodGet, "/v1/clients/alice/token?rejected="+url.QueryEscape(alice.Secret), "")
	ask(http.MethodGet, "/v1/clients/alice/token?token="+url.QueryEscape(alice.Secret), "")
	ask(http.MethodGet, "/v1/clients/alice/token?minTtl="+url.QueryEscape(alice.Secret), "")
	ask(http.MethodGet, "/v1/clients/alice/token?"+url.QueryEscape(alice.Secret), "")
	ask(http.MethodGet, "/v1/clients/alice/token?"+url.QueryEscape(alice.Secret)+"=1", "")
	ask(http.MethodGet, "/v1/clients/"+url.PathEscape("!"+alice.Secret)+"/token", "")
	ask(http.MethodGet, "/nowhere/"+url.PathEscape(alice.Secret), "")
	ask(http.MethodDelete, "/v1/clients/alice/token", "", `If-Match: "`+alice.Secret+`"`)
	ask(http.MethodPost, "/v1/clients/alice/activity", `{"tokenId":"`+alice.Secret+`"}`)
	ask(http.MethodPost, "/v1/clients/alice/activity", `{"`+alice.Secret+`":1}`)
	ask(http.MethodPost, "/v1/clients", alice.Secret, "Authorization: Bearer "+alice.Secret)

	for _, fault := range []portaltest.Fault{
		{Kind: portaltest.Status, Status: 401},
		{Kind: portaltest.Status, Status: 404},
		{Kind: portaltest.Status, Status: 418},
		{Kind: portaltest.Status, Status: 429, RetryAfter: "7"},
		{Kind: portaltest.Status, Status: 500},
		{Kind: portaltest.Reset},
		{Kind: portaltest.Lost},
		{Kind: portaltest.Redirect, Location: "http://elsewhere.invalid/" + alice.Secret},
		{Kind: portaltest.Garbage},
		{Kind: portaltest.NoToken},
		{Kind: portaltest.WrongID},
	} {
		portal.Inject(portaltest.All, fault)
		ask(http.MethodGet, "/v1/clients/carol/token", "")
		ask(http.MethodGet, "/v1/clients/alice/token?minTtl=24h", "")
		ask(http.MethodPost, "/v1/clients", "")
	}
	portal.ClearFaults()

	portal.KillClient("alice")
	ask(http.MethodGet, "/v1/clients/alice/token?minTtl=24h", "")
	redis.Do("SET", "cstproxy:{alice}:token", "torn "+alice.Secret)
	ask(http.MethodGet, "/v1/clients/alice/token", "")
	redis.Kill()
	ask(http.MethodGet, "/v1/clients/alice/token", "")
	ask(http.MethodGet, "/v1/clients/dave/token", "")
	ask(http.MethodDelete, "/v1/clients/alice/token", "")
	ask(http.MethodPost, "/v1/clients", "", "Idempotency-Key: another-key")
}

// misconfigured returns environments with secrets in them and something wrong.
func misconfigured(environ []string, secrets *secrets) [][]string {
	with := func(more ...string) []string { return append(append([]string{}, environ...), more...) }
	return [][]string{
		with("PORTAL_API_KEY=" + secrets.make("with white space ")),
		with("REDIS_URL=http://user:" + secrets.make("wrong-scheme-") + "@host"),
		with("REDIS_URL=redis://user:" + secrets.make("wrong-port-") + "@host:port"),
		with("REDIS_URL=redis://user:" + secrets.make("wrong-database-") + "@127.0.0.1:1/database"),
		with("PORTAL_API_URL=https://user:" + secrets.make("user-info-") + "@api.test"),
		with("CSTPROXY_PORTAL_API_KEY=" + secrets.make("mistyped-")),
	}
}

// wrongStart returns what serve says of an environment that it can't serve with.
func wrongStart(t *testing.T, environ []string) string {
	t.Helper()
	c := start(t, environ, "serve")
	if code := c.wait().ExitCode(); code != exitMisuse {
		t.Errorf("exit code %d, want 2: %s", code, c.written.String())
	}
	return c.written.String()
}

// secrets collects what must not be seen. The zero value is ready to use.
type secrets struct {
	mu    sync.Mutex
	texts []string
}

// make returns a new secret.
func (s *secrets) make(prefix string) string {
	secret := prefix + rand.Text()
	s.add(secret)
	return secret
}

func (s *secrets) add(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts = append(s.texts, secret)
}

func (s *secrets) seen() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.texts)
}

// listen takes down every secret that Portal hands out.
func (s *secrets) listen(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		var document struct {
			ClientAPIKey       string `json:"clientApiKey"`
			ClientSessionToken string `json:"clientSessionToken"`
		}
		_ = json.Unmarshal(answer.Body.Bytes(), &document) // not all is JSON
		for _, secret := range []string{document.ClientAPIKey, document.ClientSessionToken} {
			if secret != "" {
				s.add(secret)
			}
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

// checkAbsent looks for every secret, whole, in part and encoded.
func (s *secrets) checkAbsent(t *testing.T, text string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	const telling = 12 // characters of a random text that nobody writes by chance
	for _, secret := range s.texts {
		end := secret[len(secret)-telling:]
		for form, shape := range map[string]string{
			"the end of": end,
			"half of":    secret[len(secret)-26:][:telling],
			"in base64,": base64.StdEncoding.EncodeToString([]byte(secret))[:16],
			"in hex,":    hex.EncodeToString([]byte(end)),
		} {
			if at := strings.Index(text, shape); at >= 0 {
				t.Errorf("%s the secret %q is in what was written: …%q…", form, secret, text[max(at-200, 0):min(at+100, len(text))])
			}
		}
	}
}
