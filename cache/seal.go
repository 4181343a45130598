package cache

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// SealParts is what a [Seal] is made of. Prefix, Window and Key are required.
type SealParts struct {
	// Prefix is the namespace of all keys in Redis: what is sealed under one opens under no other.
	Prefix string
	// Window is as long as a record may live.
	Window time.Duration
	// Key is the Portal API Key, from which a key is derived; what those derived from Others sealed opens too.
	Key    session.Secret
	Others []session.Secret
	// Keyset is a Tink keyset as [NewKeyset] makes one. If there is one, it seals in the derived key's place.
	Keyset []byte
	// Failed is told, by [SealOperations], of each thing that could not be sealed or opened. It may be nil.
	Failed func(operation string)
}

// What a Seal does.
const (
	sealing = "seal"
	opening = "open"
)

// SealOperations lists what a Seal does, for those who count by it.
func SealOperations() []string { return []string{sealing, opening} }

// Seal encrypts what is kept in Redis, and names clients there by a keyed hash. Its keys may be replaced at any time. It is
// safe for concurrent use.
type Seal struct {
	// Changed is called when there are other keys, or other names. Set it before that, or not at all.
	Changed func()

	prefix string
	window time.Duration
	failed func(operation string)
	ring   atomic.Pointer[ring]
	// version counts the changes of keys.
	version atomic.Uint64
	names   atomic.Pointer[naming]

	// changing lets one change be made at a time.
	changing sync.Mutex
	// derived are the keys from Portal API Keys, keyset those of the keyset, former those that were among them.
	derived, keyset, former []sealKey
}

// errNotOpened: no key opens it, or not as what it was taken for. It says no more, since nobody else does.
var errNotOpened = errors.New("it can't be opened")

// NewSeal returns a Seal made of parts. The error says what is wrong with the keyset, without a part of it.
func NewSeal(parts SealParts) (*Seal, error) {
	s := &Seal{prefix: parts.Prefix, window: parts.Window, failed: parts.Failed}
	if s.failed == nil {
		s.failed = func(string) {}
	}
	names, err := deriveNames(parts.Prefix, parts.Key)
	if err != nil {
		return nil, err
	}
	s.names.Store(newNaming(names))
	if err := s.Rotate(parts.Key, parts.Others...); err != nil {
		return nil, err
	}
	if len(parts.Keyset) == 0 {
		return s, nil
	}
	return s, s.Reload(parts.Keyset)
}

// seal encrypts text such that it opens as nothing but this kind, of these things.
func (s *Seal) seal(text []byte, kind string, of ...string) ([]byte, error) {
	sealed, err := s.ring.Load().seals.aead.Encrypt(text, s.binding(kind, of))
	if err != nil {
		s.failed(sealing)
	}
	return sealed, err
}

// open returns what was sealed as this kind of these things. old: the key that did is on its way out.
func (s *Seal) open(sealed, kind string, of ...string) (text []byte, old bool, err error) {
	binding := s.binding(kind, of)
	for _, key := range s.ring.Load().opens {
		if !key.mayHaveSealed(sealed) {
			continue
		}
		if text, err := key.aead.Decrypt([]byte(sealed), binding); err == nil {
			return text, key.old, nil
		}
	}
	s.failed(opening)
	return nil, false, errNotOpened
}

// binding is the associated data: each part with its length, so that no two lists of parts are alike.
func (s *Seal) binding(kind string, of []string) []byte {
	data := make([]byte, 0, 128)
	data = bind(bind(data, kind), s.prefix)
	for _, part := range of {
		data = bind(data, part)
	}
	return data
}

func bind(data []byte, part string) []byte {
	return append(binary.AppendUvarint(data, uint64(len(part))), part...)
}

// Key returns the key in Redis for this kind of thing of the client. It is braced, so that in a cluster all keys of a client
// live in one slot.
func (s *Seal) Key(client session.ClientID, kind string) string {
	return s.key(s.hash("client", string(client)), kind)
}

func (s *Seal) key(hash [sha256.Size]byte, kind string) string {
	var buffer [128]byte // what is longer takes memory twice
	key := append(append(buffer[:0], s.prefix...), ":{"...)
	key = base64.RawURLEncoding.AppendEncode(key, hash[:16])
	return string(append(append(key, "}:"...), kind...))
}

// registrationKey is the key for a registration, whose own key a caller chose: it may be long, and hold anything.
func (s *Seal) registrationKey(chosen string) string {
	return s.key(s.hash("registration", chosen), "registration")
}

// tag ties a record to its client, for the scripts, and so that a reply meant for another question is seen for what it is.
func (s *Seal) tag(client session.ClientID) [8]byte {
	hash := s.hash("client", string(client))
	return [8]byte(hash[16:])
}

func (s *Seal) hash(kind, text string) [sha256.Size]byte { return s.names.Load().hash(kind, text) }

// letter returns the client as a message names it, and address reads that.
func (s *Seal) letter(client session.ClientID) (string, error) {
	sealed, err := s.seal([]byte(client), kindChange)
	return base64.RawURLEncoding.EncodeToString(sealed), err
}

func (s *Seal) address(letter string) (session.ClientID, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(letter)
	if err != nil {
		return "", errNotOpened
	}
	client, _, err := s.open(string(sealed), kindChange)
	return session.ClientID(client), err
}

// The kinds of things that are sealed.
const (
	kindToken        = "token"
	kindRegistration = "registration"
	kindChange       = "change"
	kindNames        = "names"
)
