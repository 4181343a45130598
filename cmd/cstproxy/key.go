package main

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// The names by which log and metrics call the files of the Portal API Key.
const (
	fileOfKey     = "portal_api_key"
	fileOfNextKey = "portal_api_key_next"
)

// portalKey is the Portal API Key in use, and those that may take over from it. Its files may be replaced while the proxy
// runs. It is safe for concurrent use.
type portalKey struct {
	log *slog.Logger
	// changed is told of the keys whenever they changed: first the one in use. See tellTo.
	changed func(keys []session.Secret)
	// check asks Portal about a key.
	check func(context.Context, session.Secret) error
	// files are those of the key and of the next one.
	files []*watched

	inUse atomic.Pointer[session.Secret]

	mu sync.Mutex
	// configured, next and former are those that may take over; the zero Secret is none.
	configured, next, former session.Secret

	// succession lets who comes meanwhile wait for the key that takes over.
	succession sync.Mutex
	// again is when another key may be looked for again.
	again time.Time
}

func newPortalKey(config Config, files *watch) (*portalKey, error) {
	k := &portalKey{log: files.log, configured: config.PortalAPIKey, next: config.PortalAPIKeyNext}
	k.inUse.Store(&config.PortalAPIKey)
	key, err := files.add(fileOfKey, config.PortalAPIKeyFile, secretLine(never(k.take)))
	if err != nil {
		return nil, err
	}
	next, err := files.add(fileOfNextKey, config.PortalAPIKeyNextFile, secretLine(never(k.takeNext)))
	if err != nil {
		return nil, err
	}
	k.files = []*watched{key, next}
	return k, nil
}

func (k *portalKey) current() session.Secret { return *k.inUse.Load() }

// take puts the key that its file holds into use.
func (k *portalKey) take(key session.Secret) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.configured = key
	k.use(key)
	k.tell()
}

// takeNext keeps the key that is to take over.
func (k *portalKey) takeNext(key session.Secret) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.next = key
	k.tell()
}

// use puts key into use. The caller holds mu.
func (k *portalKey) use(key session.Secret) {
	if current := k.current(); !key.Equal(current) {
		k.former = current
		k.inUse.Store(&key)
	}
}

// reread looks into the files at once, since Portal refuses the key in use.
func (k *portalKey) reread() {
	for _, file := range k.files {
		file.reread()
	}
}

// succeed has another key that Portal accepts take over from refused: the next one, the one that is configured, or the one
// before, should the file hold half a key. It looks once a second at the most.
func (k *portalKey) succeed(ctx context.Context, refused session.Secret) {
	k.succession.Lock()
	defer k.succession.Unlock()
	now := time.Now()
	if !refused.Equal(k.current()) || now.Before(k.again) {
		return
	}
	k.again = now.Add(rereadEvery)
	ctx = context.WithoutCancel(ctx)
	for _, h := range k.heirs(refused) {
		if k.check(ctx, h.key) == nil {
			k.inherit(ctx, h)
			return
		}
	}
}

func (k *portalKey) inherit(ctx context.Context, h heir) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.log.WarnContext(ctx, "Portal API Key refused: another took over", "key", h.name)
	k.use(h.key)
	k.tell()
}

// tellTo has changed told of the keys from now on, and of what they are: files may have changed since they were configured.
func (k *portalKey) tellTo(changed func(keys []session.Secret)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changed = changed
	k.tell()
}

// tell tells of the keys: what other replicas seal with the next one, or with the former, is to be opened as well. The caller
// holds mu.
func (k *portalKey) tell() {
	if k.changed == nil {
		return
	}
	keys := []session.Secret{k.current()}
	for _, other := range []session.Secret{k.next, k.configured, k.former} {
		if !other.IsZero() {
			keys = append(keys, other)
		}
	}
	k.changed(keys)
}

type heir struct {
	name string
	key  session.Secret
}

// heirs returns the keys that may take over from refused.
func (k *portalKey) heirs(refused session.Secret) []heir {
	k.mu.Lock()
	defer k.mu.Unlock()
	var heirs []heir
	for _, h := range []heir{{"next", k.next}, {"configured", k.configured}, {"former", k.former}} {
		if !h.key.IsZero() && !h.key.Equal(refused) {
			heirs = append(heirs, h)
		}
	}
	return heirs
}
