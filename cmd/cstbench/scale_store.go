package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// keyPrefix is cstproxy's own, so that what is put into Redis here is what it reads there.
const keyPrefix = "cstproxy"

// tokenLength is how long the tokens are that the simulated Portal makes; Portal states no length.
const tokenLength = 43

// kept is the store that a cstproxy on the world's Redis has, opened by this process, with the seal of the world's Portal API Key.
type kept struct {
	*cache.Redis
	seal *cache.Seal
}

// portalsRule is Portal's own rule of a token's life, with the policy that cstproxy has by default.
func portalsRule() session.Lifetime {
	return session.Lifetime{
		IdleTTL: 24 * time.Hour, RefreshWindow: 7 * 24 * time.Hour, SafetyMargin: time.Minute, MinTTL: 5 * time.Minute,
		Refresh: session.RefreshProbe,
	}
}

func openKept(ctx context.Context, w *world) (*kept, error) {
	access, err := cache.NewAccess(session.NewSecret("unix://" + w.Redis.Socket))
	if err != nil {
		return nil, fmt.Errorf("open Redis: %w", err)
	}
	life := portalsRule()
	seal, err := cache.NewSeal(cache.SealParts{Prefix: keyPrefix, Window: life.RefreshWindow, Key: session.NewSecret(w.PortalKey)})
	if err != nil {
		return nil, fmt.Errorf("make a seal: %w", err)
	}
	store := cache.NewRedis(cache.RedisParts{
		Client: access.Connect(), Prefix: keyPrefix, Seal: seal, Lifetime: life, Changes: &cache.Changes{Seal: seal},
		Late: time.Minute, Sent: time.Now, Unreadable: func() {},
	})
	err = repeat(func() error { return store.Agree(ctx) })
	return &kept{Redis: store, seal: seal}, err
}

// fillers is how many fill Redis at once: enough to keep it busy, and few enough to be answered in time.
const fillers = 8

// fill has Redis keep a token of each of the first n clients, as cstproxy puts back what Redis lost: by its own script, sealed.
func (k *kept) fill(ctx context.Context, n int) error {
	return inParallel(ctx, n, func(number int) error {
		token := newToken(numbered(number), tokenLength)
		_, err := k.Restore(ctx, token)
		return err
	})
}

// mint leaves in Redis what a mint of owner's leaves there: it takes the lease, commits a token, and gives the lease back. The
// same owner may try again, should it not have heard that it has the lease.
func (k *kept) mint(ctx context.Context, client session.ClientID, owner string) error {
	lease, err := k.Acquire(ctx, client, owner)
	if err != nil {
		return err
	}
	token := newToken(client, tokenLength)
	token.Fence = lease.Fence
	if _, err := k.Commit(ctx, token, lease.Seen); err != nil {
		return err
	}
	return k.LetGo(ctx, lease)
}

// newToken returns a token of a client, minted now, with a secret of that many random characters.
func newToken(client session.ClientID, length int) session.Token {
	random := make([]byte, length)
	_, _ = rand.Read(random) // it never fails
	secret := session.NewSecret(base64.RawURLEncoding.EncodeToString(random)[:length])
	now := time.Now().UTC().Truncate(time.Millisecond)
	return session.Token{
		Client: client, Secret: secret, ID: session.IdentifyToken(secret), MintedAt: now, ActiveAt: now,
		Fence: uint64(now.UnixMicro()) * 10,
	}
}

// inParallel does something for each of the first n clients. Of what is done there nothing may take longer than a command to
// Redis may, so on a busy machine it is done again.
func inParallel(ctx context.Context, n int, do func(number int) error) error {
	failed := make([]error, fillers)
	var group sync.WaitGroup
	for first := range fillers {
		group.Go(func() {
			for number := first; number < n && failed[first] == nil && ctx.Err() == nil; number += fillers {
				failed[first] = repeat(func() error { return do(number) })
			}
		})
	}
	group.Wait()
	return errors.Join(errors.Join(failed...), ctx.Err())
}

// tries is how often something is tried that a busy machine keeps from being done in time.
const tries = 20

func repeat(do func() error) (err error) {
	for range tries {
		if err = do(); err == nil {
			return nil
		}
	}
	return err
}
