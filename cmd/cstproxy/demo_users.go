package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"time"
)

// habit is how somebody uses the app: some days on, some off; on a day with use, visits all day long with a gap between
// them, each of some fetches.
type habit struct {
	name    string
	on, off int
	gap     time.Duration
	fetches int
}

// habits are such that every part of a token's life is seen: tokens that reach the end of their window, tokens that go idle,
// and callers who share a mint. A demo's users have them in turn.
var habits = []habit{
	{name: "daily", on: 8, off: 2, gap: time.Hour, fetches: 1},
	{name: "daily", on: 8, off: 2, gap: 2 * time.Hour, fetches: 1},
	{name: "weekly", on: 1, off: 6, gap: 3 * time.Hour, fetches: 2},
	{name: "daily", on: 8, off: 2, gap: 90 * time.Minute, fetches: 1},
	{name: "bursty", on: 2, off: 1, gap: 20 * time.Hour, fetches: 12},
}

const (
	day = 24 * time.Hour
	// awake is how much of a day, from its beginning, people use an app.
	awake = 16 * time.Hour
	// betweenVisits keeps a demo that runs very fast from becoming a load.
	betweenVisits = 20 * time.Millisecond
)

// user is one who has a habit. Times are since the demo began, which is a morning.
type user struct {
	habit
	client string
	// phase is how many days before the demo began the habit did.
	phase int
	due   time.Duration
}

// watchedUser is the one whose life-line a demo shows: a daily user, whose token comes to the end of its window after a
// week, and goes idle on two days off.
const watchedUser = "demo-daily-01"

// newUsers returns so many users. The first is the one that is watched, and comes at once.
func newUsers(number int, random *rand.Rand) []*user {
	var users []*user
	numbers := map[string]int{}
	for i := range number {
		h := habits[i%len(habits)]
		numbers[h.name]++
		u := &user{habit: h, client: fmt.Sprintf("demo-%s-%02d", h.name, numbers[h.name])}
		if i > 0 {
			u.phase = random.IntN(h.on + h.off)
			u.due = u.next(0, random)
		}
		users = append(users, u)
	}
	return users
}

// next returns when the user comes again, after a visit.
func (u *user) next(after time.Duration, random *rand.Rand) time.Duration {
	due := after + time.Duration(random.ExpFloat64()*float64(u.gap))
	for !u.comes(due) {
		morning := due.Truncate(day) + day
		due = morning + time.Duration(random.Int64N(int64(2*time.Hour)))
	}
	return due
}

func (u *user) comes(at time.Duration) bool {
	return at%day < awake && (int(at/day)+u.phase)%(u.on+u.off) < u.on
}

// visitors are users who fetch their tokens as they are due.
type visitors struct {
	users []*user
	// since is the simulated time since the demo began, which passes speed times as fast as ours.
	since  func() time.Duration
	speed  float64
	random *rand.Rand
	fetch  func(ctx context.Context, client string)
}

// run lets users come until ctx ends.
func (v *visitors) run(ctx context.Context) {
	for ctx.Err() == nil {
		u := slices.MinFunc(v.users, func(a, b *user) int { return cmp.Compare(a.due, b.due) })
		wait := time.Duration(float64(u.due-v.since()) / v.speed)
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(wait, betweenVisits)):
		}
		for range u.fetches {
			v.fetch(ctx, u.client)
		}
		u.due = u.next(v.since(), v.random)
	}
}

// fetchFrom returns a fetch of a client's token from the data API that listens there. What becomes of it is for the proxy's
// own metrics to say.
func fetchFrom(listening listenAddress) (fetch func(ctx context.Context, client string), closeIdle func()) {
	target := dialable(listening)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, target.Network, target.Address)
	}}
	asking := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	return func(ctx context.Context, client string) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/v1/clients/"+client+"/token", http.NoBody)
		if err != nil {
			return
		}
		response, err := asking.Do(request)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}, transport.CloseIdleConnections
}
