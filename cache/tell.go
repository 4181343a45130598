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

// tellTime is how long all replicas have to tell of their turns, once it shows that Redis lost some.
const tellTime = monitorEvery + 200*time.Millisecond

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
	var latest []turn
	if given := b.alone[class].latest(time.Now(), ""); given.name != "" {
		latest = append(latest, given)
	}
	missing, err := b.tell(ctx, class, latest)
	if missing > 0 {
		_, err = b.tell(ctx, class, b.alone[class].counting(time.Now()))
	}
	return err
}

// tell tells of turns, and returns how many of them were not known.
func (b *Budget) tell(ctx context.Context, class session.Class, given []turn) (missing int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	turns, now := b.alone[class], time.Now()
	told := []any{turns.window().Milliseconds(), tellTime.Milliseconds()}
	for _, one := range given {
		told = append(told, now.Sub(one.at).Milliseconds(), one.name)
	}
	answer, err := toldScript.Run(ctx, b.parts.Client, b.keys(class), told...).Int64Slice()
	if err == nil && len(answer) != 2 {
		err = errOddAnswer
	}
	if err != nil {
		return 0, fmt.Errorf("tell of turns: %w", err)
	}
	turns.heard(now, int(answer[0]))
	return answer[1], nil
}
