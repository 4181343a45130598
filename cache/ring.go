package cache

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/xchacha20poly1305"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/cstproxy/cstproxy/proxy/session"
)

const (
	// retiredGrace is how long a key that left the keyset still opens what it sealed: what is remembered is sealed anew in
	// that time, and replicas that were told a moment later keep up.
	retiredGrace = time.Minute
	// mostFormer bounds the keys that are kept of those that were replaced.
	mostFormer = 128

	keySize, keyIDSize = 32, 4
)

// ring is the keys at one moment.
type ring struct {
	seals sealKey
	opens []sealKey
}

// sealKey is one key.
type sealKey struct {
	// prefix begins all that it sealed.
	prefix string
	aead   tink.AEAD
	// old: what it sealed is sealed anew when it is read.
	old bool
	// until is how long it opens anything; zero is for good.
	until time.Time
}

func (k sealKey) mayHaveSealed(sealed string) bool {
	return strings.HasPrefix(sealed, k.prefix) && (k.until.IsZero() || time.Now().Before(k.until))
}

// Rotate has the key derived from this Portal API Key seal, unless there is a keyset. What the others' keys sealed opens too,
// and what those before sealed for as long as it may live.
func (s *Seal) Rotate(current session.Secret, others ...session.Secret) error {
	var keys []sealKey
	for _, secret := range append([]session.Secret{current}, others...) {
		derived, err := derive(s.prefix, secret)
		if err != nil {
			return err
		}
		if !holds(keys, derived) {
			keys = append(keys, derived)
		}
	}
	s.change(func() {
		s.retire(s.derived, s.window)
		s.derived = aged(keys, s.derived)
	})
	return nil
}

// aged returns keys, of which those are old that sealed before and do not any more.
func aged(keys, before []sealKey) []sealKey {
	for i := range keys {
		at := slices.IndexFunc(before, func(k sealKey) bool { return k.prefix == keys[i].prefix })
		keys[i].old = i > 0 && (at == 0 || at > 0 && before[at].old)
	}
	return keys
}

// Reload replaces the keyset by that of content. If it is none, the error says why, without a part of it, and the last one
// stays. A key that left opens for a minute more.
func (s *Seal) Reload(content []byte) error {
	keys, err := readSealKeys(content)
	if err != nil {
		return err
	}
	s.change(func() {
		s.retire(s.keyset, retiredGrace)
		s.keyset = keys
	})
	return nil
}

// change makes a change of keys, and tells of it if there was one.
func (s *Seal) change(change func()) {
	s.changing.Lock()
	before := s.ring.Load()
	change()
	after := s.arrange()
	s.ring.Store(after)
	same := before != nil && slices.EqualFunc(before.opens, after.opens, sealKey.same)
	if !same {
		s.version.Add(1)
	}
	s.changing.Unlock()
	if before != nil && !same {
		s.changed()
	}
}

func (s *Seal) changed() {
	if s.Changed != nil {
		s.Changed()
	}
}

func (k sealKey) same(other sealKey) bool {
	return k.prefix == other.prefix && k.old == other.old && k.until.Equal(other.until)
}

// retire lets keys open for as long from now on, unless they are among those in use again.
func (s *Seal) retire(keys []sealKey, grace time.Duration) {
	for _, k := range keys {
		k.old, k.until = true, time.Now().Add(grace)
		s.former = append(s.former, k)
	}
	s.former = s.former[max(len(s.former)-mostFormer, 0):]
}

// arrange makes a ring of all keys: first the one that seals.
func (s *Seal) arrange() *ring {
	current, now := s.current(), time.Now()
	s.former = slices.DeleteFunc(s.former, func(k sealKey) bool { return !now.Before(k.until) || holds(current, k) })
	return &ring{seals: current[0], opens: slices.Concat(current, s.former)}
}

// current are the keys in use. With a keyset, a derived key opens what it sealed before there was one.
func (s *Seal) current() []sealKey {
	derived := slices.Clone(s.derived)
	for i := range derived {
		derived[i].old = derived[i].old || len(s.keyset) > 0
	}
	return slices.Concat(s.keyset, derived)
}

func holds(keys []sealKey, k sealKey) bool {
	return slices.ContainsFunc(keys, func(other sealKey) bool { return other.prefix == k.prefix })
}

// derive returns the key that belongs to a Portal API Key under the prefix; its id, too, is derived. The cipher's nonces have
// 24 bytes, so that they may be random however many records one key seals.
func derive(prefix string, secret session.Secret) (sealKey, error) {
	material, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, "cstproxy seal 1 "+prefix, keySize+keyIDSize)
	if err != nil {
		return sealKey{}, fmt.Errorf("derive the seal's key: %w", err)
	}
	parameters, err := xchacha20poly1305.NewParameters(xchacha20poly1305.VariantTink)
	if err != nil {
		return sealKey{}, fmt.Errorf("derive the seal's key: %w", err)
	}
	bytes := secretdata.NewBytesFromData(material[:keySize], insecuresecretdataaccess.Token{})
	derived, err := xchacha20poly1305.NewKey(bytes, binary.BigEndian.Uint32(material[keySize:]), parameters)
	if err != nil {
		return sealKey{}, fmt.Errorf("derive the seal's key: %w", err)
	}
	return newSealKey(derived)
}

func deriveNames(prefix string, secret session.Secret) (names nameKey, err error) {
	material, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, "cstproxy names 1 "+prefix, len(names))
	if err != nil {
		return names, fmt.Errorf("derive the key of names: %w", err)
	}
	return nameKey(material), nil
}

// newSealKey returns a key by itself. It must put its id before what it seals, so that each record says who may open it.
func newSealKey(k key.Key) (sealKey, error) {
	manager := keyset.NewManager()
	id, err := manager.AddKey(k)
	if err != nil {
		return sealKey{}, errNoKeyset
	}
	if err := manager.SetPrimary(id); err != nil {
		return sealKey{}, errNoKeyset
	}
	handle, err := manager.Handle()
	if err != nil {
		return sealKey{}, errNoKeyset
	}
	cipher, err := aead.New(handle)
	if err != nil {
		return sealKey{}, errNoCipher
	}
	prefix := string(binary.BigEndian.AppendUint32([]byte{1}, id))
	sealed, err := cipher.Encrypt(nil, nil)
	if err != nil || !strings.HasPrefix(string(sealed), prefix) {
		return sealKey{}, errNoCipher
	}
	return sealKey{prefix: prefix, aead: cipher}, nil
}
