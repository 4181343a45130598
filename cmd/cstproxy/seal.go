package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// newSeal returns the seal of what is kept in Redis, by the keys that config names.
func newSeal(config Config) (*cache.Seal, error) {
	parts := cache.SealParts{Prefix: config.KeyPrefix, Window: config.RefreshWindow, Key: config.PortalAPIKey}
	if config.SealKeysFile == "" {
		return cache.NewSeal(parts)
	}
	var err error
	if parts.Keyset, err = os.ReadFile(config.SealKeysFile); err != nil {
		return nil, sealKeysRefused(config.SealKeysFile, withoutPath(err))
	}
	seal, err := cache.NewSeal(parts)
	if err != nil {
		return nil, sealKeysRefused(config.SealKeysFile, err)
	}
	return seal, nil
}

// sealKeysRefused shows the path unless it may be the keys themselves, in the wrong place.
func sealKeysRefused(path string, why error) error {
	s := setting{variable: "CSTPROXY_SEAL_KEYS_FILE"}
	shown := s.show(path)
	if strings.Contains(path, "{") {
		shown = session.NewSecret(path).String()
	}
	return configError{[]string{fmt.Sprintf("%s: got %s, want a file with a Tink keyset (%v)", s.variable, shown, why)}}
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
