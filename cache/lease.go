package cache

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/proxy/session"
)

const (
	// leaseHold is how long the clients of a replica that died in a mint wait for another to take over.
	leaseHold = 3 * time.Second
	// fenceMemory outlasts any mint that was ever under way, so that no fence is given twice.
	fenceMemory = 10 * time.Minute
)

var (
	//go:embed acquire.lua
	acquireSource string
	//go:embed renew.lua
	renewSource string
	//go:embed letgo.lua
	letGoSource string

	acquireScript = redis.NewScript(acquireSource)
	renewScript   = redis.NewScript(renewSource)
	letGoScript   = redis.NewScript(letGoSource)
)

// Acquire implements [session.Leaser].
func (r *Redis) Acquire(ctx context.Context, client session.ClientID, owner string) (session.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	keys := []string{r.leaseKey(client), r.fenceKey(client), r.tokenKey(client), r.openKey(client)}
	script := acquireScript.Run(ctx, r.parts.Client, keys,
		owner, leaseHold.Milliseconds(), fenceMemory.Milliseconds(), r.parts.Late.Milliseconds())
	fences, err := answer(r, script, (*redis.Cmd).StringSlice)
	if err != nil {
		return session.Lease{}, fmt.Errorf("acquire lease: %w", err)
	}
	if len(fences) == 0 {
		return session.Lease{}, session.ErrLeaseBusy
	}
	if len(fences) != 4 || fences[3] != keys[0] {
		return session.Lease{}, fmt.Errorf("acquire lease: %w", r.outOfStep())
	}
	lease := session.Lease{Client: client, Owner: owner, Hold: leaseHold, Doubt: fences[2] == "1"}
	if lease.Fence, err = strconv.ParseUint(fences[0], 10, 64); err != nil {
		return session.Lease{}, fmt.Errorf("acquire lease: %w", err)
	}
	if lease.Seen, err = strconv.ParseUint(fences[1], 10, 64); err != nil {
		return session.Lease{}, fmt.Errorf("acquire lease: %w", err)
	}
	return lease, nil
}

// Renew implements [session.Leaser].
func (r *Redis) Renew(ctx context.Context, lease session.Lease) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	script := renewScript.Run(ctx, r.parts.Client, []string{r.leaseKey(lease.Client), r.openKey(lease.Client)},
		lease.Owner, leaseHold.Milliseconds(), r.parts.Late.Milliseconds())
	renewed, err := answer(r, script, (*redis.Cmd).Int)
	if err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	if renewed == 0 {
		return session.ErrLeaseLost
	}
	return nil
}

// LetGo implements [session.Leaser].
func (r *Redis) LetGo(ctx context.Context, lease session.Lease) error {
	return r.giveBack(ctx, lease, 0)
}

// Abandon implements [session.Leaser].
func (r *Redis) Abandon(ctx context.Context, lease session.Lease) error {
	return r.giveBack(ctx, lease, r.parts.Late)
}

// giveBack gives the lease back; a mint under it may be carried out for as long as late.
func (r *Redis) giveBack(ctx context.Context, lease session.Lease, late time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	letter, err := r.parts.Seal.letter(lease.Client)
	if err != nil {
		return fmt.Errorf("let go of lease: %w", err)
	}
	doubt, err := letGoScript.Run(ctx, r.parts.Client, []string{r.leaseKey(lease.Client), r.openKey(lease.Client)},
		lease.Owner, r.channel(), letter, late.Milliseconds()).Int()
	if err != nil {
		return fmt.Errorf("let go of lease: %w", err)
	}
	if doubt == 1 {
		return session.ErrLeaseDoubt
	}
	return nil
}

// Watch implements [session.Leaser].
func (r *Redis) Watch(client session.ClientID) (changed <-chan struct{}, stop func()) {
	return r.parts.Changes.watch(client)
}

func (r *Redis) leaseKey(client session.ClientID) string { return r.parts.Seal.Key(client, "lease") }

func (r *Redis) openKey(client session.ClientID) string { return r.parts.Seal.Key(client, "open") }

func (r *Redis) fenceKey(client session.ClientID) string { return r.parts.Seal.Key(client, "fence") }
