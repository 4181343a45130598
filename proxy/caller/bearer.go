package caller

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
)

const (
	// keyPrefix lets scanners of secrets find a key that went astray.
	keyPrefix = "cstp_"
	// keySize is the bytes of a key: 256 bits can't be guessed, so that a plain SHA-256 of them gives nothing away.
	keySize = 32
	// digestPrefix says in the callers file what a key's line is.
	digestPrefix = "sha256:"
)

// digest is the SHA-256 of a key, as it is presented.
type digest [sha256.Size]byte

// keyOwner is whose key has the digest.
type keyOwner struct {
	digest digest
	caller int
}

// NewKey returns a new key, and the line by which the callers file knows it.
func NewKey() (key, line string) {
	var random [keySize]byte
	_, _ = rand.Read(random[:]) // it never fails
	key = keyPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	sum := sha256.Sum256([]byte(key))
	return key, digestPrefix + hex.EncodeToString(sum[:])
}

// byBearer tells whose request it is by its Authorization, which other credentials may do without.
func (b *book) byBearer(r *http.Request) ([]int, error) {
	lines := r.Header.Values("Authorization")
	if len(lines) == 0 {
		return nil, nil
	}
	if len(lines) > 1 {
		return nil, errors.New("there is more than one Authorization")
	}
	scheme, credential, _ := strings.Cut(lines[0], " ")
	credential = strings.TrimSpace(credential)
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return nil, nil
	case strings.HasPrefix(credential, keyPrefix):
		return b.byKey(credential)
	case b.verifier != nil && strings.Count(credential, ".") == 2: // a JWS of any issuer (RFC 7515 section 3.1)
		return b.byToken(r, credential)
	}
	return nil, nil
}

func (b *book) byKey(key string) ([]int, error) {
	owner, sum := -1, digest(sha256.Sum256([]byte(key)))
	for _, k := range b.keys {
		owner = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(k.digest[:], sum[:]), k.caller, owner)
	}
	if owner < 0 {
		return nil, errors.New("the key is nobody's")
	}
	return []int{owner}, nil
}

func (b *book) byToken(r *http.Request, raw string) ([]int, error) {
	identity, err := b.verifier.Verify(r.Context(), raw)
	if err != nil {
		return nil, err
	}
	owner, ok := b.subjects[identity]
	if !ok {
		return nil, errors.New("the token's subject is nobody's")
	}
	return []int{owner}, nil
}
