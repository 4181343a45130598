package cache

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// nameKey is what the names of clients are hashed with.
type nameKey [sha256.Size]byte

// naming names clients with one key.
type naming struct {
	key nameKey
	// hashes are [*keyedHash]: to make one takes as long as two names do.
	hashes sync.Pool
}

// keyedHash is a keyed hash and what goes into it and comes out, so that a name allocates nothing else.
type keyedHash struct {
	hash.Hash
	text, sum []byte
}

func newNaming(key nameKey) *naming {
	n := &naming{key: key}
	n.hashes.New = func() any { return &keyedHash{Hash: hmac.New(sha256.New, n.key[:])} }
	return n
}

// hash returns the keyed hash of a thing of that kind.
func (n *naming) hash(kind, text string) (hash [sha256.Size]byte) {
	mac := n.hashes.Get().(*keyedHash) //nolint:forcetypeassert,errcheck // there is nothing else in it
	defer n.hashes.Put(mac)
	mac.text = append(append(append(mac.text[:0], kind...), 0), text...)
	mac.Reset()
	_, _ = mac.Write(mac.text) // it never fails
	mac.sum = mac.Sum(mac.sum[:0])
	return [sha256.Size]byte(mac.sum)
}
