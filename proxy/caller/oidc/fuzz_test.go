package oidc_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// The fuzzed key is the same in every process, so that what one found is true in another.
const fuzzedHeader = `{"alg":"EdDSA","kid":"ed"}`

// everlasting are claims that are honest at any time.
var everlasting = `{"iss":"` + loopbackURL + `","sub":"alice","aud":"` + audience + `","exp":253402300799,"iat":1}`

func FuzzVerify(f *testing.F) {
	w := newWorld(f, "RS256", "ES256", "EdDSA")
	honest := sign("EdDSA", edKey(), fuzzedHeader, everlasting)
	w.mustAccept(honest, "the honest")
	signed, _, _ := cutLast(honest)
	f.Add(honest)
	for _, name := range []string{"alg none", "crit b64", "JWE", "JWS in JSON", "embedded jwk", "x5c of the attacker", "exp 1e400", "sub twice", "two dots more"} {
		f.Add(forgeries[name](w))
	}
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := w.verifier.Verify(t.Context(), raw)
		if input, _, _ := cutLast(raw); err == nil && input != signed {
			t.Errorf("accepted what the issuer didn't sign: %q", raw)
		}
		if err != nil && len(raw) > 24 && strings.Contains(err.Error(), raw) {
			t.Errorf("the error holds the token: %v", err)
		}
	})
}

func cutLast(raw string) (before, after string, found bool) {
	n := strings.LastIndexByte(raw, '.')
	if n < 0 {
		return raw, "", false
	}
	return raw[:n], raw[n+1:], true
}

func FuzzSignedClaims(f *testing.F) {
	w := newWorld(f, "EdDSA")
	w.mustAccept(sign("EdDSA", edKey(), fuzzedHeader, everlasting), "the honest")
	for _, claims := range []string{
		everlasting, strings.Replace(everlasting, `"cstproxy"`, `["a","cstproxy"]`, 1), strings.Replace(everlasting, `"iat":1`, `"iat":1.5e0,"nbf":-1`, 1),
		strings.Replace(everlasting, `"sub"`, `"sub":"a","sub"`, 1), strings.Replace(everlasting, `"exp":`, `"exp":1e400,"EXP":`, 1), `[]`, `{}`,
	} {
		f.Add(claims)
	}
	f.Fuzz(func(t *testing.T, claims string) {
		identity, err := w.verifier.Verify(t.Context(), sign("EdDSA", edKey(), fuzzedHeader, claims))
		if err != nil {
			return
		}
		if fault := faultOf([]byte(claims), identity.Subject); fault != "" {
			t.Errorf("accepted, but %s: %q", fault, claims)
		}
	})
}

// faultOf judges claims anew, by another reader of JSON.
func faultOf(claims []byte, subject string) string {
	var read map[string]any
	if err := json.Unmarshal(claims, &read); err != nil {
		return err.Error()
	}
	now := float64(time.Now().Unix())
	expiry, hasExpiry := read["exp"].(float64)
	issued, hasIssued := read["iat"].(float64)
	before, _ := read["nbf"].(float64)
	list, _ := read["aud"].([]any)
	switch {
	case read["iss"] != loopbackURL:
		return "iss is another's"
	case read["sub"] != subject || subject == "":
		return "sub is not what was told"
	case read["aud"] != audience && !slices.Contains(list, any(audience)):
		return "aud is another"
	case !hasExpiry || expiry < now-1:
		return "exp is over or missing"
	case !hasIssued || issued > now+32 || before > now+32:
		return fmt.Sprintf("iat %v or nbf %v is to come or missing", read["iat"], before)
	}
	return ""
}
