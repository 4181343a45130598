package cache

import (
	"context"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed names.lua
	namesSource string
	namesScript = redis.NewScript(namesSource)
)

// Agree has all replicas name clients alike, though their keys come and go. The key of names is at first derived from the
// Portal API Key, and stays what it is when that is replaced: it lies in Redis, sealed, once for each sealing key that is in
// use, so that whoever comes later with one of these finds it. It costs nothing while there is nothing new to agree on.
func (r *Redis) Agree(ctx context.Context) error {
	version := r.parts.Seal.version.Load()
	if r.agreed.Load() == version {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*opTimeout)
	defer cancel()
	keys := r.parts.Seal.inUse()
	if err := r.learn(ctx, keys); err != nil {
		return fmt.Errorf("agree on names: %w", err)
	}
	for _, key := range keys {
		if err := r.teach(ctx, key); err != nil {
			return fmt.Errorf("agree on names: %w", err)
		}
	}
	r.agreed.Store(version)
	return nil
}

// Disagree says that Redis may have lost what was agreed on.
func (r *Redis) Disagree() { r.agreed.Store(0) }

// learn takes the key of names that lies there for the first of keys that it does for.
func (r *Redis) learn(ctx context.Context, keys []sealKey) error {
	for _, key := range keys {
		there, err := r.parts.Client.Get(ctx, r.namesKey(key)).Result()
		switch {
		case errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "WRONGTYPE"):
		case err != nil:
			return err
		case r.parts.Seal.adopt(there):
			return nil
		}
	}
	return nil
}

// teach puts the key of names there for whoever has key. Who was faster is right.
func (r *Redis) teach(ctx context.Context, key sealKey) error {
	names := r.parts.Seal.names.Load()
	sealed, err := key.aead.Encrypt(names.key[:], r.parts.Seal.binding(kindNames, nil))
	if err != nil {
		return err
	}
	there, err := namesScript.Run(ctx, r.parts.Client, []string{r.namesKey(key)}, sealed).Text()
	if err != nil {
		return err
	}
	if key.prefix == r.parts.Seal.ring.Load().seals.prefix {
		r.parts.Seal.adopt(there)
	}
	return nil
}

func (r *Redis) namesKey(key sealKey) string {
	return r.parts.Prefix + ":{names}:" + hex.EncodeToString([]byte(key.prefix[1:]))
}

// inUse are the keys that seal now or may seal next: first the one that does.
func (s *Seal) inUse() []sealKey {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.current()
}

// adopt takes a sealed key of names, and reports whether it is one.
func (s *Seal) adopt(sealed string) bool {
	text, _, err := s.open(sealed, kindNames)
	if err != nil || len(text) != len(nameKey{}) {
		return false
	}
	names := newNaming(nameKey(text))
	if names.key != s.names.Swap(names).key {
		s.changed()
	}
	return true
}
