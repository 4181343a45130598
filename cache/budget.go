package cache

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/proxy/session"
)

var (
	//go:embed turn.lua
	turnSource string
	turnScript = redis.NewScript(turnSource)
)

// Limit is how many requests may leave in any stretch of time as long as Per. The zero Limit is none.
type Limit struct {
	Requests int
	Per      time.Duration
}

// BudgetParts is what a [Budget] is made of. Limits and Log are required; without a Client it is that of a replica on
// its own.
type BudgetParts struct {
	Client redis.UniversalClient
	Prefix string
	// Replicas returns how many share the budget, as last known.
	Replicas func() int
	Limits   map[session.Class]Limit
	Log      *slog.Logger
}

// Budget is the fleet's [session.Budget], counted in Redis by Redis's clock. While Redis fails, each replica takes its
// share of it, as the fleet was last known.
type Budget struct {
	parts BudgetParts
	// alone :: class -> the turns that this replica took
	alone map[session.Class]*turns
}

// errOddAnswer: whatever answers is not the script.
var errOddAnswer = errors.New("it answered with something else")

// NewBudget returns a Budget made of parts.
func NewBudget(parts BudgetParts) *Budget {
	alone := map[session.Class]*turns{}
	for class, limit := range parts.Limits {
		alone[class] = newTurns(limit.Requests, limit.Per)
	}
	return &Budget{parts: parts, alone: alone}
}

// Wait implements [session.Budget].
func (b *Budget) Wait(ctx context.Context, class session.Class, patience time.Duration) error {
	end, name := time.Now().Add(patience), rand.Text()
	for {
		left := max(time.Until(end), 0)
		offer, err := b.reserve(ctx, class, wish{name, left, b.parts.Limits[class].Requests})
		switch {
		case err != nil:
			return err
		case offer.wait > left:
			return offer.refused()
		case offer.wait == 0:
			return nil
		}
		switch err := sleep(ctx, offer.wait); {
		case errors.Is(err, context.Canceled):
			return err
		case err != nil:
			return offer.refused()
		}
		if b.paused(ctx, class) == 0 {
			return nil
		}
		// Paused since: all that waited would leave at once when it ends. Take another turn.
	}
}

// Spare implements [session.Budget]: of a window's requests a quarter stays for those who wait for a mint, and a tenth for those
// who wait for a probe, since few do. It never takes the only one.
func (b *Budget) Spare(ctx context.Context, class session.Class) error {
	all := b.parts.Limits[class].Requests
	spare := all * 3 / 4
	if class == session.ClassProbe {
		spare = all * 9 / 10
	}
	if spare == 0 && all > 0 {
		return offer{wait: b.alone[class].window()}.refused()
	}
	offer, err := b.reserve(ctx, class, wish{name: rand.Text(), requests: spare})
	if err == nil && offer.wait > 0 {
		err = offer.refused()
	}
	return err
}

// offer is how long it is until a turn. barred: there is a pause for the key's sake.
type offer struct {
	wait   time.Duration
	barred bool
}

// refused is the error of who does not take it.
func (o offer) refused() error {
	why := session.ErrPortalRateLimited
	if o.barred {
		why = session.ErrPortalUnauthorized
	}
	return &session.RetryError{After: o.wait, Err: fmt.Errorf("%w: the next turn is in %s", why, o.wait)}
}

func sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reserve takes the next turn of the fleet, or of this replica's share while Redis fails.
func (b *Budget) reserve(ctx context.Context, class session.Class, wish wish) (offer, error) {
	turns := b.alone[class]
	if b.parts.Client == nil {
		return turns.offer(turns.reserve(time.Now(), wish)), nil
	}
	b.remind(ctx, class)
	shared, err := b.insist(ctx, class, wish)
	if errors.Is(err, errNotTold) {
		if _, err = b.tell(ctx, class, turns.all(time.Now())); err == nil {
			shared, err = b.insist(ctx, class, wish)
		}
	}
	switch {
	case err == nil:
		return shared, nil
	case errors.Is(ctx.Err(), context.Canceled):
		return offer{}, ctx.Err()
	}
	b.parts.Log.WarnContext(ctx, "budget counted by this replica alone", "class", string(class), "error", err)
	return turns.offer(turns.reserveAlone(time.Now(), b.parts.Replicas(), wish)), nil
}

// turnTries is how often Redis is asked for a turn before a replica goes by its own count: a moment's trouble would cost
// the fleet a request too many. One that is down costs no more for it, since it is left alone after the second.
const turnTries = 5

func (b *Budget) insist(ctx context.Context, class session.Class, wish wish) (taken offer, err error) {
	for range turnTries {
		taken, err = b.reserveShared(ctx, class, wish)
		if err == nil || errors.Is(err, errNotTold) || ctx.Err() != nil {
			return taken, err
		}
	}
	return taken, err
}

func (b *Budget) reserveShared(ctx context.Context, class session.Class, wish wish) (offer, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	turns := b.alone[class]
	answer, err := turnScript.Run(ctx, b.parts.Client, b.keys(class), wish.requests,
		turns.window().Milliseconds(), wish.patience.Milliseconds(), wish.name, turns.latest(time.Now(), wish.name).name).Int64Slice()
	switch {
	case err != nil:
		return offer{}, fmt.Errorf("reserve a turn: %w", err)
	case len(answer) == 0:
		return offer{}, errNotTold
	case len(answer) != 4:
		return offer{}, fmt.Errorf("reserve a turn: %w", errOddAnswer)
	}
	now, wait := time.Now(), time.Duration(answer[0])*time.Millisecond
	if wait <= wish.patience {
		turns.note(turn{now.Add(wait), wish.name})
	} else {
		turns.refused(wish.name)
	}
	turns.heard(now, int(answer[1]))
	turns.sawPause(now.Add(time.Duration(answer[3]) * time.Millisecond))
	return offer{wait: wait, barred: answer[2] == 1}, nil
}

// keys are those of the scripts that give turns.
func (b *Budget) keys(class session.Class) []string {
	return []string{b.key(class, "turns"), b.key(class, "pause"), b.key(class, "clock")}
}

// key braces the class, so that in a cluster its keys live in one slot.
func (b *Budget) key(class session.Class, kind string) string {
	return b.parts.Prefix + ":{budget-" + string(class) + "}:" + kind
}
