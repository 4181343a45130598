package oidc

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"
)

// maxToken keeps a token within what servers take as a header.
const maxToken = 8 << 10

// token is a JWT that has been read. Nothing in it is proven.
type token struct {
	jws       *jose.JSONWebSignature
	algorithm string
	keyID     string
	claims    jwt.Claims
}

// open reads raw. Names in it count by case and only once, in the header and in the claims: go-jose's json sees to it.
func open(raw string) (token, error) {
	if len(raw) > maxToken {
		return token{}, errTooLarge
	}
	if !isCanonical(raw) {
		return token{}, errMalformed
	}
	jws, err := jose.ParseSignedCompact(raw, everyAlgorithm)
	if err != nil {
		return token{}, unreadable(err)
	}
	header := jws.Signatures[0].Protected
	if !isPlain(header) {
		return token{}, errHeader
	}
	t := token{jws: jws, algorithm: header.Algorithm, keyID: header.KeyID}
	if json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &t.claims) != nil {
		return token{}, errMalformed
	}
	return t, nil
}

// unreadable says what err means, and not what it says: those may be the token's own words.
func unreadable(err error) error {
	if _, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
		return errAlgorithm
	}
	return errMalformed
}

// isCanonical tells whether no other text has the same bytes. A decoder passes over line breaks and spare bits.
func isCanonical(raw string) bool {
	for part := range strings.SplitSeq(raw, ".") {
		bytes, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || base64.RawURLEncoding.EncodeToString(bytes) != part {
			return false
		}
	}
	return true
}

// isPlain tells whether the header asks for nothing but a key: no extension that must be understood, no other way to
// read the payload, and no other kind of token: one that announces a logout, say, may carry the same claims.
func isPlain(header jose.Header) bool {
	for _, name := range []jose.HeaderKey{"crit", "b64"} {
		if _, ok := header.ExtraHeaders[name]; ok {
			return false
		}
	}
	kind, ok := header.ExtraHeaders[jose.HeaderType]
	if !ok {
		return true
	}
	name, _ := kind.(string)
	return isKind(name)
}

// isKind knows ID tokens and access tokens (RFC 9068) by their typ.
func isKind(name string) bool {
	name = strings.TrimPrefix(strings.ToLower(name), "application/")
	return name == "jwt" || name == "at+jwt"
}

// current tells whether now lies within the token's time. Dates that aren't finite numbers don't get this far.
func (t token) current(now time.Time) error {
	if t.claims.Expiry == nil || t.claims.IssuedAt == nil {
		return errDates
	}
	expiry, issued := *t.claims.Expiry, *t.claims.IssuedAt
	switch {
	case expiry > maxDate || issued >= expiry:
		return errDates
	case !now.Before(expiry.Time()):
		return errExpired
	case issued.Time().After(now.Add(leeway)), t.claims.NotBefore.Time().After(now.Add(leeway)):
		return errTooEarly
	}
	return nil
}
