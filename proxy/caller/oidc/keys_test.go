package oidc_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// altered returns the public part of key under the kid "odd", with members changed.
func altered(key crypto.Signer, members map[string]any) map[string]any {
	jwk := map[string]any{}
	if err := json.Unmarshal(must(public("odd", key).MarshalJSON()), &jwk); err != nil {
		panic(err)
	}
	maps.Copy(jwk, members)
	return jwk
}

func TestKeyThatIsNotFitToVerifyIsLeftOut(t *testing.T) {
	t.Parallel()
	weak := must(rsa.GenerateKey(rand.Reader, 1024))
	odd := attackerKey() // an honest one here
	cases := map[string]struct {
		jwk     any
		key     *rsa.PrivateKey
		accepts bool
	}{
		"a plain one":               {altered(odd, nil), odd, true},
		"no use":                    {altered(odd, map[string]any{"use": ""}), odd, true},
		"key_ops verify":            {altered(odd, map[string]any{"key_ops": []string{"verify"}}), odd, true},
		"alg of the token":          {altered(odd, map[string]any{"alg": "RS256"}), odd, true},
		"members that nobody knows": {altered(odd, map[string]any{"issued": 1}), odd, true},
		"use enc":                   {altered(odd, map[string]any{"use": "enc"}), odd, false},
		"use by another case":       {altered(odd, map[string]any{"use": "SIG"}), odd, false},
		"use a number":              {altered(odd, map[string]any{"use": 1}), odd, false},
		"key_ops without verify":    {altered(odd, map[string]any{"key_ops": []string{"encrypt"}}), odd, false},
		"key_ops empty":             {altered(odd, map[string]any{"key_ops": []string{}}), odd, false},
		"alg of another size":       {altered(odd, map[string]any{"alg": "RS512"}), odd, false},
		"alg of another kind":       {altered(odd, map[string]any{"alg": "ES256"}), odd, false},
		"alg to encrypt by":         {altered(odd, map[string]any{"alg": "RSA-OAEP"}), odd, false},
		"no kid":                    {altered(odd, map[string]any{"kid": ""}), odd, false},
		"another kid":               {altered(odd, map[string]any{"kid": "odder"}), odd, false},
		"kty EC":                    {altered(odd, map[string]any{"kty": "EC"}), odd, false},
		"1024 bits":                 {altered(weak, nil), weak, false},
		"a private one":             {jose.JSONWebKey{Key: odd, KeyID: "odd"}, odd, false},
		"certified for another": {
			altered(odd, map[string]any{"x5c": []string{base64.StdEncoding.EncodeToString(certificate(rsaKey()))}}), odd, false,
		},
		"of a kind to come":    {map[string]any{"kty": "AKP", "kid": "odd", "alg": "ML-DSA-44", "pub": "AAAA"}, odd, false},
		"of a curve to come":   {map[string]any{"kty": "OKP", "crv": "Ed448", "kid": "odd", "x": "AAAA"}, odd, false},
		"off its curve":        {map[string]any{"kty": "EC", "crv": "P-256", "kid": "odd", "x": encode(make([]byte, 32)), "y": encode(make([]byte, 32))}, odd, false},
		"a text":               {"odd", odd, false},
		"null":                 {nil, odd, false},
		"an object of nothing": {map[string]any{}, odd, false},
	}
	for name, c := range cases {
		i := newIssuer()
		i.keys["odd"] = c.jwk
		w := newWorldWith(t, i)
		if got := w.accepts(sign("RS256", c.key, `{"alg":"RS256","kid":"odd"}`, w.claims())); got != c.accepts {
			t.Errorf("%s: accepted is %v, want %v", name, got, c.accepts)
		}
		w.mustAccept(w.honest(), name+", and another key beside it")
	}
}

func TestKidThatTwoKeysShareIsEithersWhoseKindFits(t *testing.T) {
	t.Parallel()
	i := newIssuer()
	i.keys["same"], i.keys["again"] = public("rsa", p256Key()), public("rsa", attackerKey())
	w := newWorldWith(t, i)
	w.mustAccept(w.honest(), "the RSA key's")
	w.mustAccept(sign("RS256", attackerKey(), plainHeader, w.claims()), "the second RSA key's")
	w.mustAccept(sign("ES256", p256Key(), `{"alg":"ES256","kid":"rsa"}`, w.claims()), "the curve's")
	w.mustRefuse(sign("ES256", p384Key(), `{"alg":"ES256","kid":"rsa"}`, w.claims()), "another curve's")
}
