package cache

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// opTimeout bounds one command, with the dial and the wait for a connection that it may need.
const opTimeout = 150 * time.Millisecond

var (
	//go:embed slide.lua
	slideSource string
	//go:embed forget.lua
	forgetSource string

	slideScript  = redis.NewScript(slideSource)
	forgetScript = redis.NewScript(forgetSource)
)

// RedisParts is what a [Redis] is made of. Every field is required.
type RedisParts struct {
	Client redis.UniversalClient
	// Prefix is the namespace of all keys.
	Prefix   string
	Lifetime session.Lifetime
}

// Redis keeps tokens and registrations in Redis. It is a [session.Store] and a [session.Registry]. No call takes much
// longer than 150 ms, whatever Redis does.
type Redis struct {
	parts RedisParts
}

// NewRedis returns a Redis made of parts. It connects when first used.
func NewRedis(parts RedisParts) *Redis { return &Redis{parts: parts} }

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
	if err := r.parts.Client.Close(); err != nil {
		return fmt.Errorf("close Redis: %w", err)
	}
	return nil
}

// Load implements [session.Store].
func (r *Redis) Load(ctx context.Context, client session.ClientID) (session.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	record, err := r.parts.Client.Get(ctx, r.tokenKey(client)).Result()
	if errors.Is(err, redis.Nil) {
		return session.Token{}, nil
	}
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		return session.Token{}, unreadable("it is no string")
	}
	if err != nil {
		return session.Token{}, fmt.Errorf("load token: %w", err)
	}
	return decodeRecord(client, record)
}

// Save implements [session.Store].
func (r *Redis) Save(ctx context.Context, token session.Token) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	expires := r.parts.Lifetime.ExpiresAt(token).UnixMilli()
	// By hand, since go-redis's own SET cuts the date to seconds.
	if err := r.parts.Client.Do(ctx, "set", r.tokenKey(token.Client), encodeRecord(token), "pxat", expires).Err(); err != nil {
		return fmt.Errorf("save token: %w", err)
	}
	return nil
}

// Slide implements [session.Store].
func (r *Redis) Slide(ctx context.Context, client session.ClientID, id session.TokenID, at time.Time) (session.Match, error) {
	life := r.parts.Lifetime
	return r.compare(ctx, slideScript, client,
		named(id), at.UnixMilli(), life.IdleTTL.Milliseconds(), life.RefreshWindow.Milliseconds())
}

// Forget implements [session.Store].
func (r *Redis) Forget(ctx context.Context, client session.ClientID, id session.TokenID) (session.Match, error) {
	return r.compare(ctx, forgetScript, client, named(id))
}

func (r *Redis) compare(ctx context.Context, script *redis.Script, client session.ClientID, args ...any) (session.Match, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	match, err := script.Run(ctx, r.parts.Client, []string{r.tokenKey(client)}, args...).Int()
	if err != nil {
		return session.MatchNone, fmt.Errorf("change token: %w", err)
	}
	return session.Match(match), nil //nolint:gosec // the scripts return 0, 1 or 2
}

// named is how a script takes a token id: as in the record, or empty for any.
func named(id session.TokenID) string {
	if id.IsZero() {
		return ""
	}
	return string(id[:])
}

// tokenKey braces the client, so that in a cluster all keys of a client live in one slot.
func (r *Redis) tokenKey(client session.ClientID) string {
	return r.parts.Prefix + ":{" + string(client) + "}:token"
}
