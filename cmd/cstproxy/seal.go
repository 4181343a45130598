package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// fileOfSealKeys is the name by which log and metrics call the file of the keys that encrypt what is kept in Redis.
const fileOfSealKeys = "seal_keys"

// newSeal returns the seal of what is kept in Redis, by the keys that config names, as their file has them at each moment.
func newSeal(config Config, files *watch) (seal *cache.Seal, err error) {
	parts := cache.SealParts{Prefix: config.KeyPrefix, Window: config.RefreshWindow, Key: config.PortalAPIKey, Failed: files.metrics.SealFailed}
	if !config.PortalAPIKeyNext.IsZero() {
		parts.Others = []session.Secret{config.PortalAPIKeyNext}
	}
	if config.SealKeysFile == "" {
		return cache.NewSeal(parts)
	}
	if parts.Keyset, err = os.ReadFile(config.SealKeysFile); err != nil {
		return nil, sealKeysRefused(config.SealKeysFile, withoutPath(err))
	}
	if seal, err = cache.NewSeal(parts); err != nil {
		return nil, sealKeysRefused(config.SealKeysFile, err)
	}
	if _, err := files.add(fileOfSealKeys, config.SealKeysFile, seal.Reload); err != nil {
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

// rekeyed has the seal's keys be derived from these Portal API Keys, of which the first is in use.
func (s store) rekeyed(keys []session.Secret) {
	if s.seal == nil {
		return
	}
	if err := s.seal.Rotate(keys[0], keys[1:]...); err != nil {
		s.log.Error("seal not rotated", "error", err)
	}
}
