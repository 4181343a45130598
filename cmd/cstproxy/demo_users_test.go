package main

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// visit is one fetch, at a simulated time since the demo began.
type visit struct {
	client string
	at     time.Duration
}

// watchUsers lets users come for so much simulated time, and returns their fetches.
func watchUsers(t *testing.T, users int, speed float64, during time.Duration) (visits []visit) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		began := time.Now()
		now := portaltest.Clock(began, speed)
		since := func() time.Duration { return now().Sub(began) }
		all := visitors{
			users: newUsers(users, random), since: since, speed: speed, random: random,
			fetch: func(_ context.Context, client string) { visits = append(visits, visit{client, since()}) },
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(float64(during)/speed))
		defer cancel()
		all.run(ctx)
	})
	return visits
}

func TestUsersOfADemoSleepAtNight(t *testing.T) {
	t.Parallel()
	visits := watchUsers(t, 24, demoSpeed, 14*day)
	const late = 10 * time.Minute // the wait that keeps visits apart
	for _, v := range visits {
		if v.at%day >= awake+late {
			t.Errorf("%s came at %s of its day", v.client, v.at%day)
		}
	}
	if len(visits) < 1000 {
		t.Errorf("%d visits in two weeks", len(visits))
	}
}

func TestUsersOfADemoShowEveryEndOfALife(t *testing.T) {
	t.Parallel()
	last := map[string]time.Duration{}
	idle, steady := map[string]int{}, map[string]time.Duration{} // :: habit → times that a token went idle, the longest row without
	began := map[string]time.Duration{}
	for _, v := range watchUsers(t, 24, demoSpeed, 28*day) {
		habit := strings.Split(v.client, "-")[1]
		if before, ok := last[v.client]; !ok || v.at-before > 24*time.Hour {
			if ok {
				idle[habit]++
			}
			began[v.client] = v.at
		}
		last[v.client] = v.at
		steady[habit] = max(steady[habit], v.at-began[v.client])
	}
	for _, habit := range []string{"daily", "weekly", "bursty"} {
		if idle[habit] == 0 {
			t.Errorf("no token of a %s user goes idle", habit)
		}
	}
	if steady["daily"] < 7*day {
		t.Errorf("a daily user comes for %s, which ends no window", steady["daily"])
	}
}

func TestTheWatchedUserComesAtOnceAndUntilTheWindowEnds(t *testing.T) {
	t.Parallel()
	visits := watchUsers(t, 1, demoSpeed, 12*day)
	if len(visits) == 0 || visits[0].client != watchedUser || visits[0].at > 10*time.Minute {
		t.Fatalf("first come %v", visits[:min(1, len(visits))])
	}
	gap, rest := time.Duration(0), time.Duration(0)
	for i, v := range visits[1:] {
		between := v.at - visits[i].at
		if v.at < 7*day+awake {
			gap = max(gap, between)
		}
		rest = max(rest, between)
	}
	if gap >= 24*time.Hour || rest < 24*time.Hour {
		t.Errorf("within the week %s pass without a visit, and afterwards %s; want less and more than a day", gap, rest)
	}
}

func TestADemoThatRunsVeryFastIsNoLoad(t *testing.T) {
	t.Parallel()
	const second = 1_000_000 * time.Second // simulated
	if got := len(watchUsers(t, 1000, 1_000_000, second)); got > 50*12 {
		t.Errorf("%d fetches in a second", got)
	}
}

func TestUsersOfADemoEndWithIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		ctx, cancel := context.WithCancel(t.Context())
		all := visitors{
			users: newUsers(24, random), since: func() time.Duration { return 0 }, speed: 0.001, random: random,
			fetch: func(context.Context, string) {},
		}
		ended := make(chan struct{})
		go func() { defer close(ended); all.run(ctx) }()
		synctest.Wait()
		cancel()
		<-ended
	})
}
