package cache

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
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
	answer, err := claimScript.Run(ctx, r.parts.Client, r.registrationKey(claim),
		asked(claim), claim.Owner, claim.Hold.Milliseconds()).StringSlice()
	if err != nil {
		return "", fmt.Errorf("claim registration: %w", err)
	}
	switch answer[0] {
	case "ours":
		return "", nil
	case "done":
		return session.ClientID(answer[1]), nil
	case "reused":
		return "", errKeyReused
	}
	return "", session.ErrRegistrationBusy
}

// Settle implements [session.Registry].
func (r *Redis) Settle(ctx context.Context, claim session.Claim, client session.ClientID, keep time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	done := "D" + asked(claim) + string(client)
	err := settleScript.Run(ctx, r.parts.Client, r.registrationKey(claim), pending(claim), done, keep.Milliseconds()).Err()
	if err != nil {
		return fmt.Errorf("settle registration: %w", err)
	}
	return nil
}

// Release implements [session.Registry].
func (r *Redis) Release(ctx context.Context, claim session.Claim) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if err := releaseScript.Run(ctx, r.parts.Client, r.registrationKey(claim), pending(claim)).Err(); err != nil {
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

// registrationKey hashes the caller's key: it may be long, and hold anything.
func (r *Redis) registrationKey(claim session.Claim) []string {
	sum := sha256.Sum256([]byte(claim.Key))
	return []string{r.parts.Prefix + ":{" + hex.EncodeToString(sum[:16]) + "}:registration"}
}
