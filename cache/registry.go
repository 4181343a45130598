package cache

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/proxy/session"
)

var (
	//go:embed claim.lua
	claimSource string
	//go:embed settle.lua
	settleSource string
	//go:embed release.lua
	releaseSource string

	claimScript   = redis.NewScript(claimSource)
	settleScript  = redis.NewScript(settleSource)
	releaseScript = redis.NewScript(releaseSource)
)

// Claim implements [session.Registry].
func (r *Redis) Claim(ctx context.Context, claim session.Claim) (session.ClientID, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	key := r.parts.Seal.registrationKey(claim.Key)
	script := claimScript.Run(ctx, r.parts.Client, []string{key}, asked(claim), claim.Owner, claim.Hold.Milliseconds())
	became, err := answer(r, script, (*redis.Cmd).StringSlice)
	if err == nil && (len(became) != 3 || became[2] != key) {
		err = r.outOfStep()
	}
	if err != nil {
		return "", fmt.Errorf("claim registration: %w", err)
	}
	switch became[0] {
	case "ours":
		return "", nil
	case "done":
		return r.registered(key, became[1])
	case "reused":
		return "", errKeyReused
	}
	return "", session.ErrRegistrationBusy
}

// registered returns the client that a registration made. If that can't be opened it is an error and no miss: a miss would
// make a second client.
func (r *Redis) registered(key, sealed string) (session.ClientID, error) {
	client, _, err := r.parts.Seal.open(sealed, kindRegistration, key)
	if err != nil {
		r.parts.Unreadable()
		return "", fmt.Errorf("claim registration: %w", unreadable(err.Error()))
	}
	return session.ClientID(client), nil
}

// Settle implements [session.Registry].
func (r *Redis) Settle(ctx context.Context, claim session.Claim, client session.ClientID, keep time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	key := r.parts.Seal.registrationKey(claim.Key)
	sealed, err := r.parts.Seal.seal([]byte(client), kindRegistration, key)
	if err != nil {
		return fmt.Errorf("settle registration: %w", err)
	}
	done := "D" + asked(claim) + string(sealed)
	if err := settleScript.Run(ctx, r.parts.Client, []string{key}, pending(claim), done, keep.Milliseconds()).Err(); err != nil {
		return fmt.Errorf("settle registration: %w", err)
	}
	return nil
}

// Release implements [session.Registry].
func (r *Redis) Release(ctx context.Context, claim session.Claim) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	key := r.parts.Seal.registrationKey(claim.Key)
	if err := releaseScript.Run(ctx, r.parts.Client, []string{key}, pending(claim)).Err(); err != nil {
		return fmt.Errorf("release registration: %w", err)
	}
	return nil
}

var errKeyReused = fmt.Errorf("%w: this Idempotency-Key was used for a registration that asked for something else",
	session.ErrInvalidRequest)

// asked is what a repeat with the same key must ask for as well.
func asked(claim session.Claim) string {
	if claim.AccountAbstracted {
		return "1"
	}
	return "0"
}

func pending(claim session.Claim) string { return "P" + asked(claim) + claim.Owner }
