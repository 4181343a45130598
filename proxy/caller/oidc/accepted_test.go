package oidc_test

import (
	"crypto"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"
)

func TestTokenIsAcceptedByEachAlgorithmThatIsAllowed(t *testing.T) {
	t.Parallel()
	signers := map[string]struct {
		kid string
		key crypto.Signer
	}{
		"RS256": {"rsa", rsaKey()}, "RS384": {"rsa", rsaKey()}, "RS512": {"rsa", rsaKey()},
		"PS256": {"rsa", rsaKey()}, "PS384": {"rsa", rsaKey()}, "PS512": {"rsa", rsaKey()},
		"ES256": {"p256", p256Key()}, "ES384": {"p384", p384Key()}, "ES512": {"p521", p521Key()},
		"EdDSA": {"ed", edKey()},
	}
	byDefault := newWorld(t)
	for algorithm, signer := range signers {
		header := `{"alg":"` + algorithm + `","kid":"` + signer.kid + `"}`
		w := newWorld(t, algorithm)
		w.mustAccept(sign(algorithm, signer.key, header, w.claims()), algorithm)
		raw := sign(algorithm, signer.key, header, byDefault.claims())
		if want := algorithm == "RS256" || algorithm == "ES256"; byDefault.accepts(raw) != want {
			t.Errorf("%s: accepted by default is %v, want %v", algorithm, !want, want)
		}
	}
}

// Each of these is a step away from one of the forgeries.
func TestTokenIsAcceptedToTheEdgeOfTheRules(t *testing.T) {
	t.Parallel()
	tokens := map[string]func(*world) string{
		"aud a list":           func(w *world) string { return honestly(w.claims(`"cstproxy"`, `["other","cstproxy"]`)) },
		"exp in two seconds":   func(w *world) string { return honestly(w.claims(exp(), at("exp", time.Now().Add(2*time.Second)))) },
		"exp in the year 9999": func(w *world) string { return honestly(w.claims(exp(), `"exp":253402300799`)) },
		"exp with a fraction":  func(w *world) string { return honestly(w.claims(exp(), exp()+`.5`)) },
		"iat and nbf at the leeway": func(w *world) string {
			return honestly(w.claims(iat(), at("iat", time.Now().Add(29*time.Second))+`,`+at("nbf", time.Now().Add(29*time.Second))))
		},
		"iat long ago":      func(w *world) string { return honestly(w.claims(iat(), `"iat":1`)) },
		"typ JWT":           func(w *world) string { return headed(`{"alg":"RS256","kid":"rsa","typ":"JWT"}`, w) },
		"typ of RFC 9068":   func(w *world) string { return headed(`{"alg":"RS256","kid":"rsa","typ":"application/at+jwt"}`, w) },
		"typ in lower case": func(w *world) string { return headed(`{"alg":"RS256","kid":"rsa","typ":"jwt"}`, w) },
		"jku that nobody follows": func(w *world) string {
			return headed(`{"alg":"RS256","kid":"rsa","jku":"http://localhost/evil"}`, w)
		},
		"jwk that nobody uses": func(w *world) string {
			return headed(`{"alg":"RS256","kid":"rsa","jwk":`+string(must(json.Marshal(public("evil", attackerKey()))))+`}`, w)
		},
		"other claims": func(w *world) string {
			return honestly(w.claims(`"sub"`, `"kubernetes.io":{"pod":{"name":"a","name":"b"}},"groups":["x"],"sub"`))
		},
	}
	w := newWorld(t)
	for name, token := range tokens {
		w.mustAccept(token(w), name)
	}
}

func TestTokenEndsWithTheSecondOfItsExp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		raw := honestly(w.claims(exp(), at("exp", time.Now().Add(10*time.Second))))
		time.Sleep(10*time.Second - time.Nanosecond)
		w.mustAccept(raw, "a moment before")
		time.Sleep(time.Nanosecond)
		w.mustRefuse(raw, "at its exp")
	})
}
