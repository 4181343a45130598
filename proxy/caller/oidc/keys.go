package oidc

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// minRSA is the least size of an RSA key that is used, in bits.
const minRSA = 2048

// key is one of an issuer's keys, fit to verify.
type key struct {
	public any
	// algorithms are those that it may be used by: the one that the issuer names, if it names one.
	algorithms []string
}

// keys: kid → keys, for an issuer may use a kid twice.
type keys map[string][]key

// readKeys reads a JWK set. Keys of no use are left out, as RFC 7517 wants it, so that a new kind of key beside the
// others does no harm. A set without any of use is an error.
func readKeys(body []byte) (keys, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(body, &set) != nil {
		return nil, errors.New("the answer is not a JWK set")
	}
	read := keys{}
	for _, raw := range set.Keys {
		if kid, k, ok := readKey(raw); ok {
			read[kid] = append(read[kid], k)
		}
	}
	if len(read) == 0 {
		return nil, errors.New("no key in the JWK set can be used")
	}
	return read, nil
}

// readKey returns a key and its kid, if it is one to verify by.
func readKey(raw []byte) (string, key, bool) {
	var jwk jose.JSONWebKey
	var purpose struct {
		Operations []string `json:"key_ops"` //nolint:tagliatelle // its name in RFC 7517
	}
	if json.Unmarshal(raw, &jwk) != nil || json.Unmarshal(raw, &purpose) != nil {
		return "", key{}, false
	}
	if jwk.Use != "" && jwk.Use != "sig" || purpose.Operations != nil && !slices.Contains(purpose.Operations, "verify") {
		return "", key{}, false
	}
	k := key{public: jwk.Key, algorithms: algorithms(jwk.Key)}
	if jwk.Algorithm != "" {
		k.algorithms = slices.DeleteFunc(k.algorithms, func(name string) bool { return name != jwk.Algorithm })
	}
	return jwk.KeyID, k, jwk.KeyID != "" && len(k.algorithms) > 0
}

// algorithms lists those that a public key may be used by: none for a private one, or one that is weak or symmetric.
func algorithms(public any) []string {
	switch public := public.(type) {
	case *rsa.PublicKey:
		return rsaAlgorithms(public)
	case *ecdsa.PublicKey:
		return curveAlgorithms(public)
	case ed25519.PublicKey:
		return []string{string(jose.EdDSA)}
	default:
		return nil
	}
}

func rsaAlgorithms(public *rsa.PublicKey) []string {
	if public.N.BitLen() < minRSA {
		return nil
	}
	return []string{
		string(jose.RS256), string(jose.RS384), string(jose.RS512),
		string(jose.PS256), string(jose.PS384), string(jose.PS512),
	}
}

func curveAlgorithms(public *ecdsa.PublicKey) []string {
	switch public.Curve.Params().Name {
	case "P-256":
		return []string{string(jose.ES256)}
	case "P-384":
		return []string{string(jose.ES384)}
	case "P-521":
		return []string{string(jose.ES512)}
	default:
		return nil
	}
}
