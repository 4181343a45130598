package cache

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Pauses that Portal did not ask for in so many seconds grow from the first to the longest. What leaves after one is
// within the budget anyway, so the longest need not spare Portal: it is short enough for the fleet to be back within
// 5 s of Portal. One that Portal names lasts as it says.
const (
	firstPause   = time.Second
	longestPause = 4 * time.Second
)

var (
	//go:embed pause.lua
	pauseSource string
	pauseScript = redis.NewScript(pauseSource)
)

// Pause implements [session.Budget].
func (b *Budget) Pause(ctx context.Context, class session.Class, wait time.Duration) {
	b.pause(ctx, class, pause{wait: wait})
}

// Bar implements [session.Budget].
func (b *Budget) Bar(ctx context.Context, class session.Class) {
	b.pause(ctx, class, pause{reason: keyRefused})
}

// pause is a stop of requests, for as long as Portal said or longer each time if wait is 0.
type pause struct {
	wait   time.Duration
	reason string
}

// keyRefused is the reason of a pause for the key's sake.
const keyRefused = "k"

func (b *Budget) pause(ctx context.Context, class session.Class, p pause) {
	paused := b.alone[class].pause(time.Now(), p)
	if b.parts.Client == nil {
		return
	}
	err := b.share(ctx, class, p)
	b.parts.Log.WarnContext(ctx, "paused", "class", string(class), "seconds", paused.Seconds(), "shared", err == nil,
		"key_refused", p.reason == keyRefused)
}

// share makes all replicas pause.
func (b *Budget) share(ctx context.Context, class session.Class, p pause) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), opTimeout)
	defer cancel()
	err := pauseScript.Run(ctx, b.parts.Client, []string{b.key(class, "pause"), b.key(class, "strikes")},
		p.wait.Milliseconds(), firstPause.Milliseconds(), longestPause.Milliseconds(), p.reason).Err()
	if err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	return nil
}

func (b *Budget) paused(ctx context.Context, class session.Class) time.Duration {
	alone := b.alone[class].pausedFor(time.Now())
	if b.parts.Client == nil {
		return alone
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	left, err := b.parts.Client.PTTL(ctx, b.key(class, "pause")).Result()
	if err != nil {
		return alone
	}
	left = max(left, 0) // there is none: PTTL is negative
	b.alone[class].sawPause(time.Now().Add(left))
	return left
}
