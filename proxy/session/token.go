package session

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// maxClientID is generous: Portal's own ids are 25-character cuids, but it states neither charset nor length.
const maxClientID = 128

// ClientID names one of Portal's clients, that is one user's wallet. Make one with [ParseClientID] only.
type ClientID string

// ParseClientID returns text as a ClientID if it matches [A-Za-z0-9_-]{1,128}, else [ErrInvalidClientID].
// The text itself is not in the error: it may hold anything.
func ParseClientID(text string) (ClientID, error) {
	if text == "" || len(text) > maxClientID {
		return "", fmt.Errorf("%w: got %d characters, want 1 to %d", ErrInvalidClientID, len(text), maxClientID)
	}
	for i := range len(text) {
		if !isClientIDByte(text[i]) {
			return "", fmt.Errorf("%w: character %d is none of A-Z, a-z, 0-9, _ and -", ErrInvalidClientID, i+1)
		}
	}
	return ClientID(text), nil
}

func isClientIDByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		return true
	}
	return false
}

// TokenID names a token without giving it away: the first 16 bytes of SHA-256 over the secret.
// It is safe to log, and whoever holds the token can compute it. The zero TokenID names no token.
type TokenID [16]byte

// IdentifyToken returns the TokenID of a secret.
func IdentifyToken(secret Secret) TokenID {
	var buffer [512]byte // what is longer takes memory
	sum := sha256.Sum256(append(buffer[:0], secret.Reveal()...))
	return TokenID(sum[:16])
}

// ParseTokenID reads the form that [TokenID.String] writes; anything else is [ErrInvalidRequest], and so is the zero
// TokenID: where a token is named, it would stand for any.
func ParseTokenID(text string) (TokenID, error) {
	var id TokenID
	if len(text) != hex.EncodedLen(len(id)) {
		return TokenID{}, fmt.Errorf("%w: a token id has 32 lower-case hex digits, got %d characters", ErrInvalidRequest, len(text))
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil || id.String() != text || id.IsZero() {
		return TokenID{}, fmt.Errorf("%w: a token id has 32 lower-case hex digits, not all of them 0", ErrInvalidRequest)
	}
	return id, nil
}

// String returns 32 lower-case hex digits.
func (id TokenID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText implements [encoding.TextMarshaler] with what [TokenID.String] returns; logs and JSON use it.
func (id TokenID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// IsZero reports whether id names no token.
func (id TokenID) IsZero() bool { return id == TokenID{} }

// Token is one Client Session Token and what is known of its life. The zero Token means "none" and is never live.
type Token struct {
	Client ClientID
	ID     TokenID
	Secret Secret
	// AccountAbstracted is Portal's own attribute of the client, passed through.
	AccountAbstracted bool
	// MintedAt is when the request that made the token left for Portal, so never later than Portal's own date.
	MintedAt time.Time
	// ActiveAt is when the latest request left that Portal is known to have accepted with it; the mint counts.
	ActiveAt time.Time
	// Fence orders mints of one client: of two tokens the one with the higher fence was minted under the later lease.
	Fence uint64
	// Suspect: another mint ran at the same time, which may have killed this token. Portal must be asked before it is
	// handed out.
	Suspect bool
	// Doubt is until when another mint, which was cut off, may be carried out yet and kill this token; zero is never. Until
	// Portal has accepted it after that it is asked for now and then, and served meanwhile.
	Doubt time.Time
}

// IsZero reports whether there is no token.
func (t Token) IsZero() bool { return t.ID.IsZero() }
