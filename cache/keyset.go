package cache

import (
	"bytes"
	"errors"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// What is wrong with a keyset. The library's own errors may quote it, so they go no further.
var (
	errNoKeyset = errors.New("it is no Tink keyset in JSON with a primary key, all of it in clear")
	errNoCipher = errors.New("there is a key in it that is not for authenticated encryption, or has no TINK prefix")
)

// Why a step of a rotation can't be taken.
var (
	errPromoteFirst = errors.New("a key was added already: promote it first")
	errNothingAdded = errors.New("the newest key is the primary one already: add one first")
	errNothingOld   = errors.New("there is no key before the primary one: nothing to retire")
)

// NewKeyset returns a new Tink keyset with one key, in JSON and in clear: whoever reads it can open what it sealed.
func NewKeyset() ([]byte, error) {
	handle, err := keyset.NewHandle(aead.XChaCha20Poly1305KeyTemplate())
	if err != nil {
		return nil, errNoCipher
	}
	return writeKeyset(handle)
}

// AddKey returns the keyset with a new key at its end, which opens and does not seal yet.
func AddKey(content []byte) ([]byte, error) {
	return edit(content, func(manager *keyset.Manager, ids []uint32, primary int) error {
		if primary != len(ids)-1 {
			return errPromoteFirst
		}
		_, err := manager.Add(aead.XChaCha20Poly1305KeyTemplate())
		return err
	})
}

// PromoteKey returns the keyset with its newest key as the one that seals.
func PromoteKey(content []byte) ([]byte, error) {
	return edit(content, func(manager *keyset.Manager, ids []uint32, primary int) error {
		if primary == len(ids)-1 {
			return errNothingAdded
		}
		return manager.SetPrimary(ids[len(ids)-1])
	})
}

// RetireKeys returns the keyset without the keys before the one that seals: nothing opens any more what those sealed.
func RetireKeys(content []byte) ([]byte, error) {
	return edit(content, func(manager *keyset.Manager, ids []uint32, primary int) error {
		if primary == 0 {
			return errNothingOld
		}
		for _, id := range ids[:primary] {
			if err := manager.Delete(id); err != nil {
				return err
			}
		}
		return nil
	})
}

// edit changes a keyset by a function of its keys' ids, oldest first, and of the place of the primary one.
func edit(content []byte, change func(manager *keyset.Manager, ids []uint32, primary int) error) ([]byte, error) {
	handle, err := readKeyset(content)
	if err != nil {
		return nil, err
	}
	var ids []uint32
	info := handle.KeysetInfo()
	for _, k := range info.GetKeyInfo() {
		ids = append(ids, k.GetKeyId())
	}
	manager := keyset.NewManagerFromHandle(handle)
	if err := change(manager, ids, slices.Index(ids, info.GetPrimaryKeyId())); err != nil {
		return nil, err
	}
	changed, err := manager.Handle()
	if err != nil {
		return nil, errNoKeyset
	}
	return writeKeyset(changed)
}

func readKeyset(content []byte) (*keyset.Handle, error) {
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(content)))
	if err != nil || handle.Len() == 0 {
		return nil, errNoKeyset
	}
	return handle, nil
}

func writeKeyset(handle *keyset.Handle) ([]byte, error) {
	var out bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&out)); err != nil {
		return nil, errNoKeyset
	}
	return append(out.Bytes(), '\n'), nil
}

// readSealKeys returns the keys of a keyset: first the primary one, which seals. Those that came before it are old; one that
// came after it is to seal later. One that is not enabled opens nothing.
func readSealKeys(content []byte) ([]sealKey, error) {
	handle, err := readKeyset(content)
	if err != nil {
		return nil, err
	}
	var keys []sealKey
	before := true
	for i := range handle.Len() {
		entry, err := handle.Entry(i)
		if err != nil {
			return nil, errNoKeyset
		}
		if entry.KeyStatus() != keyset.Enabled {
			continue
		}
		k, err := newSealKey(entry.Key())
		if err != nil {
			return nil, err
		}
		if entry.IsPrimary() {
			before = false
			keys = slices.Insert(keys, 0, k)
			continue
		}
		k.old = before
		keys = append(keys, k)
	}
	return keys, nil
}
