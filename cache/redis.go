package cache

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// opTimeout bounds one command, with the dial and the wait for a connection that it may need.
const opTimeout = 120 * time.Millisecond

var (
	//go:embed slide.lua
	slideSource string
	//go:embed forget.lua
	forgetSource string
	//go:embed commit.lua
	commitSource string
	//go:embed restore.lua
	restoreSource string
	//go:embed reseal.lua
	resealSource string

	slideScript  = redis.NewScript(slideSource)
	forgetScript = redis.NewScript(forgetSource)
	commitScript = redis.NewScript(commitSource)

	restoreScript = redis.NewScript(restoreSource)
	resealScript  = redis.NewScript(resealSource)
)

// RedisParts is what a [Redis] is made of. Every field is required.
type RedisParts struct {
	Client redis.UniversalClient
	// Prefix is the namespace of all keys.
	Prefix string
	// Seal encrypts what is kept, under that prefix.
	Seal     *Seal
	Lifetime session.Lifetime
	// Changes serves those who watch a client.
	Changes *Changes
	// Late is how long after its lease ended a mint may be carried out that nobody waits for any more.
	Late time.Duration
	// Sent is the clock by which tokens are dated. Where it is ahead of Redis's, dates are moved back by that.
	Sent func() time.Time
	// Unreadable is told of each reply that is not what was asked for: torn, sealed with a key that is not known, or another
	// client's.
	Unreadable func()
}

// Redis keeps tokens, leases and registrations in Redis. It is a [session.Store], a [session.Leaser] and a
// [session.Registry]. No call takes much longer than 120 ms, whatever Redis does.
type Redis struct {
	parts RedisParts
	links links
	reads batches
	ends  deadlines
	// agreed is the version of the seal whose names the fleet agreed on.
	agreed atomic.Uint64
}

// NewRedis returns a Redis made of parts. It connects when first used.
func NewRedis(parts RedisParts) *Redis {
	r := &Redis{parts: parts, reads: batches{client: parts.Client}}
	r.links.follow(parts.Client)
	return r
}

// Ping returns an error if Redis does not answer.
func (r *Redis) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if err := r.parts.Client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping Redis: %w", err)
	}
	return nil
}

// Close closes the connections.
func (r *Redis) Close() error {
	r.reads.close()
	if err := r.parts.Client.Close(); err != nil {
		return fmt.Errorf("close Redis: %w", err)
	}
	return nil
}

// Load implements [session.Store].
func (r *Redis) Load(ctx context.Context, client session.ClientID) (session.Token, error) {
	ctx, cancel := r.ends.bound(ctx)
	defer cancel()
	record, err := r.reads.get(ctx, r.tokenKey(client))
	switch {
	case err == nil && record != forgotten:
	case err == nil, errors.Is(err, redis.Nil):
		return session.Token{}, nil
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return session.Token{}, r.noRecord()
	default:
		return session.Token{}, fmt.Errorf("load token: %w", err)
	}
	token, old, err := r.read(client, record)
	if old {
		r.reseal(ctx, client, record)
	}
	return token, err
}

// Look implements [session.Store]; Redis remembers nothing here.
func (r *Redis) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	return r.Load(ctx, client)
}

// Commit implements [session.Store]: what [session.Kept] says, in one step.
func (r *Redis) Commit(ctx context.Context, token session.Token, seen uint64) (session.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	sealed, err := r.parts.Seal.encode(token)
	if err != nil {
		return session.Token{}, err
	}
	letter, err := r.parts.Seal.letter(token.Client)
	if err != nil {
		return session.Token{}, fmt.Errorf("commit token: %w", err)
	}
	script := commitScript.Run(ctx, r.parts.Client, []string{r.tokenKey(token.Client), r.fenceKey(token.Client)},
		sealed, r.parts.Lifetime.IdleTTL.Milliseconds(), token.Fence, seen,
		r.channel(), letter, token.ID.String(), r.sent(), r.parts.Lifetime.RefreshWindow.Milliseconds(),
		fenceMemory.Milliseconds())
	record, err := answer(r, script, (*redis.Cmd).Text)
	if err != nil {
		return session.Token{}, fmt.Errorf("commit token: %w", err)
	}
	kept, _, err := r.read(token.Client, record)
	return kept, err
}

// Slide implements [session.Store].
func (r *Redis) Slide(ctx context.Context, move session.Move) (session.Match, error) {
	life := r.parts.Lifetime
	letter, err := r.parts.Seal.letter(move.Client)
	if err != nil {
		return session.MatchNone, fmt.Errorf("change token: %w", err)
	}
	return r.compare(ctx, slideScript, move.Client, named(move.ID), move.At.UnixMilli(), life.IdleTTL.Milliseconds(),
		life.RefreshWindow.Milliseconds(), clears(move), stamp(move.Doubt), r.sent(), r.channel(), letter, corrects(move))
}

// Forget implements [session.Store].
func (r *Redis) Forget(ctx context.Context, client session.ClientID, id session.TokenID) (session.Match, error) {
	letter, err := r.parts.Seal.letter(client)
	if err != nil {
		return session.MatchNone, fmt.Errorf("change token: %w", err)
	}
	return r.compare(ctx, forgetScript, client, named(id), r.channel(), letter, forgotten, r.parts.Lifetime.IdleTTL.Milliseconds())
}

// Restore puts token back where Redis lost what it kept for the client, and returns what it keeps then: another token that
// is there, or none if the client's was forgotten.
func (r *Redis) Restore(ctx context.Context, token session.Token) (session.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	sealed, err := r.parts.Seal.encode(token)
	if err != nil {
		return session.Token{}, err
	}
	script := restoreScript.Run(ctx, r.parts.Client, []string{r.tokenKey(token.Client)},
		sealed, keptUntil(r.parts.Lifetime, token).UnixMilli(), r.parts.Lifetime.IdleTTL.Milliseconds(), r.parts.Lifetime.RefreshWindow.Milliseconds())
	record, err := answer(r, script, (*redis.Cmd).Text)
	switch {
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return session.Token{}, r.noRecord()
	case err != nil:
		return session.Token{}, fmt.Errorf("restore token: %w", err)
	case record == forgotten:
		return session.Token{}, nil
	}
	kept, _, err := r.read(token.Client, record)
	return kept, err
}

func (r *Redis) compare(ctx context.Context, script *redis.Script, client session.ClientID, args ...any) (session.Match, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	match, err := answer(r, script.Run(ctx, r.parts.Client, []string{r.tokenKey(client)}, args...), (*redis.Cmd).Int)
	if err != nil {
		return session.MatchNone, fmt.Errorf("change token: %w", err)
	}
	return session.Match(match), nil //nolint:gosec // the scripts return 0, 1 or 2
}

// clears and corrects are how a script takes what a move is for.
func clears(move session.Move) string {
	if move.Clears {
		return "1"
	}
	return "0"
}

func corrects(move session.Move) string {
	if move.Corrects {
		return "1"
	}
	return "0"
}

// named is how a script takes a token id: as in the record, or empty for any.
func named(id session.TokenID) string {
	if id.IsZero() {
		return ""
	}
	return string(id[:])
}

func (r *Redis) tokenKey(client session.ClientID) string { return r.parts.Seal.Key(client, "token") }

// sent is what time it is for the scripts that date a record.
func (r *Redis) sent() int64 { return r.parts.Sent().UnixMilli() }

func (r *Redis) channel() string { return channelOf(r.parts.Prefix) }
