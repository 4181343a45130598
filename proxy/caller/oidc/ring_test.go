package oidc_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/caller/oidc"
)

// answering returns a fault that answers requests for the keys, or all, with a body.
func answering(status int, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// keysOnly leaves the discovery whole.
func keysOnly(fault http.HandlerFunc) func(http.ResponseWriter, *http.Request) {
	return discovering(func(r *http.Request) string { return here(r) + "/keys" }, fault)
}

func discovering(keys func(*http.Request) string, fault http.HandlerFunc) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
			_, _ = fmt.Fprintf(w, `{"issuer":"%s","jwks_uri":"%s"}`, here(r), keys(r))
			return
		}
		fault(w, r)
	}
}

func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// endless writes until nobody reads.
func endless(w http.ResponseWriter, _ *http.Request) {
	for _, err := w.Write([]byte(`{"keys":[`)); err == nil; _, err = w.Write(make([]byte, 64<<10)) {
	}
}

// named gives the issuer another name, and keeps its keys.
func named(name string, i *issuer) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
			_, _ = fmt.Fprintf(w, `{"issuer":"%s","jwks_uri":"%s/keys"}`, name, here(r))
			return
		}
		i.answer(w, r)
	}
}

func dropping(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func redirecting(to string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

// attackersKeys is a set in which the attacker's key has the honest key's kid.
func attackersKeys() string {
	return `{"keys":[` + string(must(public("rsa", attackerKey()).MarshalJSON())) + `]}`
}

// faults: what an issuer does → how. None gives a key.
var faults = map[string]func(*issuer){
	"away":                       func(i *issuer) { i.away = true },
	"silent":                     func(i *issuer) { i.fault = silent },
	"cut off":                    func(i *issuer) { i.fault = dropping },
	"status 500":                 func(i *issuer) { i.fault = answering(500, attackersKeys()) },
	"status 404":                 func(i *issuer) { i.fault = answering(404, "") },
	"empty":                      func(i *issuer) { i.fault = answering(200, "") },
	"HTML":                       func(i *issuer) { i.fault = answering(200, "<html>") },
	"keys: silent":               func(i *issuer) { i.fault = keysOnly(silent) },
	"keys: cut off":              func(i *issuer) { i.fault = keysOnly(dropping) },
	"keys: status 503":           func(i *issuer) { i.fault = keysOnly(answering(503, attackersKeys())) },
	"keys: status 204":           func(i *issuer) { i.fault = keysOnly(answering(204, "")) },
	"keys: empty":                func(i *issuer) { i.fault = keysOnly(answering(200, "")) },
	"keys: none":                 func(i *issuer) { i.fault = keysOnly(answering(200, `{"keys":[]}`)) },
	"keys: null":                 func(i *issuer) { i.fault = keysOnly(answering(200, `{"keys":null}`)) },
	"keys: missing":              func(i *issuer) { i.fault = keysOnly(answering(200, `{}`)) },
	"keys: HTML":                 func(i *issuer) { i.fault = keysOnly(answering(200, "<html>")) },
	"keys: half of them":         func(i *issuer) { i.fault = keysOnly(answering(200, attackersKeys()[:200])) },
	"keys: an attacker's, twice": func(i *issuer) { i.fault = keysOnly(answering(200, attackersKeys()+attackersKeys())) },
	"keys: only weak ones":       func(i *issuer) { i.fault = keysOnly(answering(200, `{"keys":[{"kty":"oct","kid":"rsa","k":"AAAA"}]}`)) },
	"keys: too large": func(i *issuer) {
		i.fault = keysOnly(answering(200, `{"x":"`+strings.Repeat("x", 300<<10)+`",`+attackersKeys()[1:]))
	},
	"keys: redirected":       func(i *issuer) { i.fault = keysOnly(redirecting("http://localhost/openid/v1/jwks")) },
	"keys: redirected away":  func(i *issuer) { i.fault = keysOnly(redirecting("http://evil.example/keys")) },
	"discovery redirected":   func(i *issuer) { i.fault = redirecting("http://evil.example/.well-known/openid-configuration") },
	"discovery of another":   func(i *issuer) { i.fault = named("http://evil.example", i) },
	"discovery with a slash": func(i *issuer) { i.fault = named(loopbackURL+"/", i) },
	"keys: endless":          func(i *issuer) { i.fault = keysOnly(endless) },
	"discovery without keys": func(i *issuer) {
		i.fault = discovering(func(*http.Request) string { return "" }, answering(200, attackersKeys()))
	},
	"keys in the clear elsewhere": func(i *issuer) {
		i.fault = discovering(func(*http.Request) string { return "http://evil.example/keys" }, answering(200, attackersKeys()))
	},
	"keys in a file": func(i *issuer) {
		i.fault = discovering(func(*http.Request) string { return "file:///etc/keys" }, answering(200, attackersKeys()))
	},
}

func TestIssuerThatNeverGaveAKeyAuthenticatesNobody(t *testing.T) {
	t.Parallel()
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				fault(i)
				w := newWorldWith(t, i)
				honest, forged := w.honest(), sign("RS256", attackerKey(), plainHeader, w.claims())
				for range 100 {
					w.mustRefuse(honest, "the honest")
					w.mustRefuse(forged, "the attacker's")
					time.Sleep(time.Second)
				}
				w.issuer.set(func(i *issuer) { i.fault, i.away = nil, false })
				time.Sleep(31 * time.Second)
				w.mustAccept(honest, "the honest, 31 s after the issuer came back")
			})
		})
	}
}

func TestKnownKeysOutliveTheirIssuer(t *testing.T) {
	t.Parallel()
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				honest, forged := w.honest(), sign("RS256", attackerKey(), plainHeader, w.claims())
				w.mustAccept(honest, "before the outage")
				w.issuer.set(fault)
				for range 3 {
					time.Sleep(30 * time.Minute)
					begun := time.Now()
					w.mustAccept(honest, "in the outage")
					if waited := time.Since(begun); waited > 0 {
						t.Errorf("a caller with a known key waited %v for the issuer", waited)
					}
					w.mustRefuse(forged, "the attacker's")
				}
				if !strings.Contains(w.said(), "issuer keys not fetched, those known stay") {
					t.Error("the outage is not in the log")
				}
			})
		})
	}
}

// A callers file that names another issuer, too, makes another verifier.
func TestKnownKeysOutliveTheirIssuerAndTheirVerifier(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		honest := w.honest()
		w.mustAccept(honest, "before the outage")
		w.issuer.set(func(i *issuer) { i.away = true })
		for authority, known := range map[string]bool{"": true, writePEM(t): false} {
			next := startWorld(t, w.issuer, oidc.Issuer{URL: loopbackURL, CAFile: authority})
			next.verifier.Inherit(w.verifier)
			if next.accepts(honest) != known {
				t.Errorf("with authorities %q the token is accepted: %v, want %v", authority, !known, known)
			}
		}
	})
}

func writePEM(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate(rsaKey())}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestIssuerIsAskedEver30SecondsWhileItFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mustAccept(w.honest(), "before the outage")
		begun := time.Now()
		w.issuer.set(func(i *issuer) { i.away = true })
		time.Sleep(time.Hour + 100*time.Second)
		got := w.issuer.dialed(begun.Add(time.Nanosecond))
		if diff := cmp.Diff([]int{3599, 3629, 3659, 3689}, got); diff != "" {
			t.Errorf("seconds of the dials (-want +got):\n%s", diff)
		}
	})
}

func TestPauseGrowsFrom1To30SecondsWhileNoKeyIsKnown(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]time.Duration{"nobody asks": time.Hour, "callers ask all the time": 100 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begun, i := time.Now(), newIssuer()
				i.away = true
				w := newWorldWith(t, i)
				honest := w.honest()
				for time.Since(begun) < 2*time.Minute {
					time.Sleep(min(ask, 2*time.Minute))
					w.mustRefuse(honest, "without a key")
				}
				got := w.issuer.dialed(begun)
				if diff := cmp.Diff([]int{0, 1, 3, 7, 15, 31, 61, 91}, got[:min(8, len(got))]); diff != "" {
					t.Errorf("seconds of the dials (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestNewKeyIsFoundByWhoNeedsItAndAWithdrawnOneIsDroppedWithinTheHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mustAccept(w.honest(), "the old key")
		time.Sleep(31 * time.Second)
		w.issuer.set(func(i *issuer) { i.keys["new"] = public("new", attackerKey()) })
		renewed := func() string { return sign("RS256", attackerKey(), `{"alg":"RS256","kid":"new"}`, w.claims()) }
		w.mustAccept(renewed(), "the new key")
		w.issuer.set(func(i *issuer) { delete(i.keys, "rsa") })
		time.Sleep(time.Minute)
		w.mustAccept(w.honest(), "the withdrawn key, until it is known to be")
		time.Sleep(time.Hour)
		w.mustRefuse(w.honest(), "the withdrawn key, an hour later")
		w.mustAccept(renewed(), "the new key, an hour later")
	})
}

func TestSameKidWithAnotherKeyIsTheNewKeyAfterARefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mustAccept(w.honest(), "the old key")
		w.issuer.set(func(i *issuer) { i.keys["rsa"] = public("rsa", attackerKey()) })
		time.Sleep(time.Hour + time.Minute)
		w.mustRefuse(w.honest(), "the old key")
		w.mustAccept(sign("RS256", attackerKey(), plainHeader, w.claims()), "the new key")
	})
}

func TestCallersShareAFetchAndOneThatLeavesDoesNotSpoilIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.fault = func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(2 * time.Second)
			i.set(func(i *issuer) { i.fault = nil })
			i.answer(rw, r)
		}
		w := newWorldWith(t, i)
		const callers = 100
		verdicts := make(chan error, callers)
		raw := w.honest()
		leaving, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { _, err := w.verifier.Verify(leaving, raw); left <- err }()
		for range callers {
			go func() { _, err := w.verifier.Verify(t.Context(), raw); verdicts <- err }()
		}
		time.Sleep(time.Second)
		leave()
		synctest.Wait()
		if err := <-left; err == nil {
			t.Error("who left before the keys came was accepted")
		}
		for range callers {
			if err := <-verdicts; err != nil {
				t.Errorf("a caller was refused: %v", err)
			}
		}
		if got := len(w.issuer.times()); got != 1 {
			t.Errorf("%d fetches, want 1", got)
		}
	})
}

func TestClosedVerifierKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.fault = silent
		w := newWorldWith(t, i)
		verdict := make(chan error, 1)
		go func() { _, err := w.verifier.Verify(t.Context(), w.honest()); verdict <- err }()
		synctest.Wait()
		begun := time.Now()
		w.verifier.Close()
		if err := <-verdict; err == nil {
			t.Error("accepted without a key")
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("the end took %v", took)
		}
		time.Sleep(time.Minute)
		begun = time.Now()
		w.mustRefuse(w.honest(), "after the end")
		if waited := time.Since(begun); waited > 0 {
			t.Errorf("a caller waited %v after the end", waited)
		}
	})
}
