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

// tellTime is how long all replicas have to tell of their turns, once it shows that Redis lost some: a few looks of each
// one's monitor, since the first may fail.
const tellTime = 3 * time.Second

// errNotTold: Redis does not know of a turn that this replica took.
var errNotTold = errors.New("a turn is not known")

var (
	//go:embed told.lua
	toldSource string
	toldScript = redis.NewScript(toldSource)
)

// Tell tells Redis of the turns that this replica took while it was away, or that it lost, and hears how many the fleet
// took. While there is nothing to tell it costs a command for each class.
func (b *Budget) Tell(ctx context.Context) {
	for class, limit := range b.parts.Limits {
		if limit.Requests == 0 {
			continue
		}
		if err := b.tellOf(ctx, class); err != nil {
			b.parts.Log.WarnContext(ctx, "budget not told", "class", string(class), "error", err)
		}
	}
}

// tellOf tells of the latest turn, and of all if that one was not known.
func (b *Budget) tellOf(ctx context.Context, class session.Class) error {
	b.remind(ctx, class)
	var latest []turn
	if given := b.alone[class].latest(time.Now(), ""); given.name != "" {
		latest = append(latest, given)
	}
	missing, err := b.tell(ctx, class, latest)
	if missing > 0 {
		_, err = b.tell(ctx, class, b.alone[class].all(time.Now()))
	}
	return err
}

// tell tells of turns, and returns how many of them were not known.
func (b *Budget) tell(ctx context.Context, class session.Class, given []turn) (missing int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	turns, now := b.alone[class], time.Now()
	args := []any{turns.window().Milliseconds(), tellTime.Milliseconds()}
	for _, one := range given {
		args = append(args, now.Sub(one.at).Milliseconds(), one.name)
	}
	answer, err := toldScript.Run(ctx, b.parts.Client, b.keys(class), args...).Slice()
	if err != nil {
		return 0, fmt.Errorf("tell of turns: %w", err)
	}
	told, err := readTold(answer)
	if err != nil {
		return 0, fmt.Errorf("tell of turns: %w", err)
	}
	turns.heard(now, int(told.fleet))
	turns.saw(turn{at: now.Add(-time.Duration(told.ago) * time.Millisecond), name: told.latest})
	turns.sawPause(now.Add(time.Duration(told.pause) * time.Millisecond))
	return told.missing, nil
}

// told is what told.lua returns.
type told struct {
	fleet, missing int64
	latest         string
	ago, pause     int64
}

func readTold(answer []any) (told, error) {
	var t told
	if len(answer) != 5 {
		return t, errOddAnswer
	}
	var ok [5]bool
	t.fleet, ok[0] = answer[0].(int64)
	t.missing, ok[1] = answer[1].(int64)
	t.latest, ok[2] = answer[2].(string)
	t.ago, ok[3] = answer[3].(int64)
	t.pause, ok[4] = answer[4].(int64)
	if ok != [5]bool{true, true, true, true, true} {
		return told{}, errOddAnswer
	}
	return t, nil
}

// remind tells Redis again of a pause that this replica was told of by Portal: it may not have heard, or have lost it.
func (b *Budget) remind(ctx context.Context, class session.Class) {
	if left := b.alone[class].pauseLeft(time.Now()); left.wait > 0 {
		_ = b.share(ctx, class, left) // it is told again
	}
}
