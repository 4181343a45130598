package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// newSeal returns the seal of what is kept in Redis, by the keys that config names.
func newSeal(config Config) (*cache.Seal, error) {
	parts := cache.SealParts{Prefix: config.KeyPrefix, Window: config.RefreshWindow, Key: config.PortalAPIKey}
	if config.SealKeysFile == "" {
		return cache.NewSeal(parts)
	}
	refused := func(err error) error {
		return configError{[]string{fmt.Sprintf("CSTPROXY_SEAL_KEYS_FILE: got %q, want a file with a Tink keyset (%v)", config.SealKeysFile, err)}}
	}
	var err error
	if parts.Keyset, err = os.ReadFile(config.SealKeysFile); err != nil {
		return nil, refused(withoutPath(err))
	}
	seal, err := cache.NewSeal(parts)
	if err != nil {
		return nil, refused(err)
	}
	return seal, nil
}

// rekeyed has the seal's key be derived from the Portal API Key that replaced another.
func (s store) rekeyed(key session.Secret, log *slog.Logger) {
	if s.seal == nil {
		return
	}
	if err := s.seal.Rotate(key); err != nil {
		log.Error("seal not rotated", "error", err)
	}
}
