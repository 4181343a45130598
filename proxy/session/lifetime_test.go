package session_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

const (
	hour = time.Hour
	day  = 24 * time.Hour
)

// portal is Portal's own rule with the default policy.
func portal() session.Lifetime {
	return session.Lifetime{
		IdleTTL: day, RefreshWindow: 7 * day, SafetyMargin: time.Minute, MinTTL: 5 * time.Minute,
		Refresh: session.RefreshProbe,
	}
}

var monday = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func explicit(life time.Duration) session.Need { return session.Need{Life: life, Explicit: true} }

func TestDecide(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	type decision = session.Decision
	var (
		serve    = decision{Action: session.Serve}
		extend   = decision{Action: session.ServeAndExtend}
		refresh  = decision{Action: session.Refresh}
		slide    = decision{Action: session.Slide}
		idle     = decision{Action: session.Mint, Reason: session.IdleExpired}
		window   = decision{Action: session.Mint, Reason: session.WindowClosed}
		observe  = func(l *session.Lifetime) { l.Refresh = session.RefreshObserve }
		assume   = func(l *session.Lifetime) { l.Refresh = session.RefreshAssume }
		noMargin = func(l *session.Lifetime) { l.SafetyMargin = 0 }
	)
	for name, c := range map[string]struct {
		policy func(*session.Lifetime)
		active time.Duration // after the mint
		now    time.Duration // after the mint
		need   session.Need
		want   decision
	}{
		"just minted is served":                                    {want: serve},
		"a moment before a 48th of the idle time is served":        {now: 30*time.Minute - ms, want: serve},
		"after a 48th of the idle time it is refreshed behind":     {now: 30 * time.Minute, want: extend},
		"the least life is still served at once":                   {now: day - 5*time.Minute, want: extend},
		"a moment under the least life is refreshed first":         {now: day - 5*time.Minute + ms, want: refresh},
		"a moment before the margin is refreshed first":            {now: day - time.Minute - ms, want: refresh},
		"the margin reached is idle":                               {now: day - time.Minute, want: idle},
		"no margin, a moment before the end is refreshed first":    {policy: noMargin, now: day - ms, want: refresh},
		"no margin, the end is idle":                               {policy: noMargin, now: day, want: idle},
		"a moment after the end is idle":                           {now: day + ms, want: idle},
		"days later is idle":                                       {now: 3 * day, want: idle},
		"idle before the window closed stays idle after it":        {active: day, now: 9 * day, want: idle},
		"on the last day nothing can extend, so it is served":      {active: 6*day + 12*hour, now: 6*day + 23*hour, want: serve},
		"the last day is served up to the least life":              {active: 6*day + 12*hour, now: 7*day - 5*time.Minute, want: serve},
		"a moment under the least life, the window is too near":    {active: 6*day + 12*hour, now: 7*day - 5*time.Minute + ms, want: window},
		"the window's margin reached is closed":                    {active: 6*day + 12*hour, now: 7*day - time.Minute, want: window},
		"the window's end is closed":                               {active: 6*day + 12*hour, now: 7 * day, want: window},
		"active a day before the window's end: the window ends it": {active: 6 * day, now: 7 * day, want: window},
		"active a moment earlier: idleness ends it":                {active: 6*day - ms, now: 7 * day, want: idle},
		"a need met is served at once":                             {now: 6 * hour, need: explicit(18 * hour), want: extend},
		"a need missed by a moment is refreshed first":             {now: 6*hour + ms, need: explicit(18 * hour), want: refresh},
		"a need that the window still holds is refreshed first":    {active: 5*day + 12*hour, now: 6*day - ms, need: explicit(day), want: refresh},
		"a need that the window can't hold mints":                  {active: 6*day - hour, now: 6*day + ms, need: explicit(day), want: window},
		"a need for nothing is served to the margin":               {now: day - time.Minute - ms, need: explicit(0), want: extend},
		"a need for nothing still gets no token within the margin": {now: day - time.Minute, need: explicit(0), want: idle},
		"observing, a short token is served as it is":              {policy: observe, now: day - 2*time.Minute, want: serve},
		"observing, under half is not refreshed behind":            {policy: observe, now: 20 * hour, want: serve},
		"observing, an explicit need is refreshed for":             {policy: observe, now: 20 * hour, need: explicit(5 * hour), want: refresh},
		"observing, the window's end mints all the same":           {policy: observe, active: 6*day + 12*hour, now: 7*day - 2*time.Minute, want: window},
		"assuming, a fetch within a minute of the last is served":  {policy: assume, now: time.Minute - ms, want: serve},
		"assuming, a fetch a minute later slides":                  {policy: assume, now: time.Minute, want: slide},
		"assuming, a short token slides":                           {policy: assume, now: day - 2*time.Minute, want: slide},
		"assuming, an explicit need slides":                        {policy: assume, now: time.Second, need: explicit(day), want: slide},
		"assuming, an idle token is idle":                          {policy: assume, now: day, want: idle},
		"assuming, on the last day nothing slides":                 {policy: assume, active: 6*day + hour, now: 6*day + 2*hour, want: serve},
		"dated ahead of the clock by the margin is served":         {now: -time.Minute, want: serve},
		"dated ahead by a moment more, only Portal can say":        {now: -time.Minute - ms, want: refresh},
		"dated ahead, observing or not":                            {policy: observe, now: -hour, want: refresh},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			life := portal()
			if c.policy != nil {
				c.policy(&life)
			}
			token := sessiontest.NewToken("c", monday)
			token.ActiveAt = monday.Add(c.active)
			if got := life.Decide(token, monday.Add(c.now), c.need); got != c.want {
				t.Errorf("Decide = %v %q, want %v %q", got.Action, got.Reason, c.want.Action, c.want.Reason)
			}
		})
	}
}

func TestDecideWithoutATokenMintsBecauseItIsAbsent(t *testing.T) {
	t.Parallel()
	if got := portal().Decide(session.Token{}, monday, session.Need{}); got != (session.Decision{Reason: session.Absent}) {
		t.Errorf("Decide = %+v", got)
	}
	if portal().Live(session.Token{}, time.Time{}) {
		t.Error("the zero token is live")
	}
}

func TestDecideOnARejectedTokenMintsWhateverItsDates(t *testing.T) {
	t.Parallel()
	token := sessiontest.NewToken("c", monday)
	for _, now := range []time.Duration{0, 20 * hour, 10 * day} {
		got := portal().Decide(token, monday.Add(now), session.Need{Rejected: token.ID})
		if got != (session.Decision{Reason: session.Rejected}) {
			t.Errorf("after %s: Decide = %+v", now, got)
		}
	}
	other := sessiontest.NewToken("c", monday)
	if got := portal().Decide(token, monday, session.Need{Rejected: other.ID}); got.Action != session.Serve {
		t.Errorf("another token rejected: Decide = %+v, want serve", got)
	}
}

func TestExpiresAtIsTheEarlierOfIdleAndWindow(t *testing.T) {
	t.Parallel()
	life, token := portal(), sessiontest.NewToken("c", monday)
	for active, want := range map[time.Duration]time.Duration{
		0: day, hour: day + hour, 6*day - time.Millisecond: 7*day - time.Millisecond, 6 * day: 7 * day, 6*day + hour: 7 * day,
	} {
		token.ActiveAt = monday.Add(active)
		if got := life.ExpiresAt(token).Sub(monday); got != want {
			t.Errorf("active %s after the mint: expires after %s, want %s", active, got, want)
		}
	}
}

// The cases that Portal's documentation names: a daily user needs one token a week, one who comes back after days needs
// one each time.
func TestMintsPerUser(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		every, span time.Duration
		mints       int
	}{
		"once a day on the dot is idle each time, margin and all": {every: day, span: 28 * day, mints: 28},
		"a daily user, one mint a week":                           {every: 23 * hour, span: 28 * day, mints: 4},
		"a bit less than twice a day, one mint a week":            {every: 12*hour + time.Second, span: 28 * day, mints: 4},
		"every hour, one mint a week":                             {every: hour, span: 28 * day, mints: 4},
		"back after two days, one mint a login":                   {every: 2 * day, span: 28 * day, mints: 14},
		"back after a week, one mint a login":                     {every: 7 * day, span: 28 * day, mints: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			life, user := portal(), history{t: t, portal: portal()}
			for at := time.Duration(0); at < c.span; at += c.every {
				user.now = monday.Add(at)
				user.fetch(life.Decide(user.token, user.now, session.Need{}), session.Need{})
			}
			if user.mints != c.mints {
				t.Errorf("%d mints in %s, want %d", user.mints, c.span, c.mints)
			}
		})
	}
}

// history is one client's token under a Portal that always answers.
type history struct {
	t interface {
		Fatalf(format string, args ...any)
	}
	portal session.Lifetime
	token  session.Token
	now    time.Time
	mints  int
}

// fetch carries a decision out, what it does in the background too, and checks what is served.
func (h *history) fetch(decision session.Decision, need session.Need) {
	switch decision.Action {
	case session.Mint:
		h.mint(decision.Reason)
	case session.Refresh, session.Slide, session.ServeAndExtend:
		if decision.Action == session.ServeAndExtend {
			h.served(session.Need{})
		}
		h.token.ActiveAt = h.now
	}
	h.served(need)
	if decision.Action != session.Mint && decision.Reason != "" {
		h.mint(decision.Reason)
		h.served(session.Need{})
	}
}

func (h *history) mint(reason session.Reason) {
	l, t := h.portal, h.token
	idle, window := t.ActiveAt.Add(l.IdleTTL), t.MintedAt.Add(l.RefreshWindow)
	margin := h.now.Add(l.SafetyMargin)
	allowed := map[session.Reason]bool{
		session.Absent:       t.IsZero(),
		session.IdleExpired:  !margin.Before(idle) && idle.Before(window),
		session.WindowClosed: !h.now.Add(max(l.SafetyMargin, l.MinTTL, day)).Before(window),
		session.Rejected:     true,
		session.Ahead:        l.MintAhead > 0 && !h.now.Add(l.MintAhead+max(l.SafetyMargin, l.MinTTL)).Before(window) && h.now.Before(window),
	}
	if !allowed[reason] {
		h.t.Fatalf("minted as %q at %s: minted %s, active %s", reason, h.now, t.MintedAt, t.ActiveAt)
	}
	h.mints++
	h.token = sessiontest.NewToken("c", h.now)
}

func (h *history) served(need session.Need) {
	l, t := h.portal, h.token
	end := t.ActiveAt.Add(l.IdleTTL)
	if window := t.MintedAt.Add(l.RefreshWindow); window.Before(end) {
		end = window
	}
	if !h.now.Before(end.Add(-l.SafetyMargin)) {
		h.t.Fatalf("served at %s a token that ends %s, margin %s", h.now, end, l.SafetyMargin)
	}
	if t.ID == need.Rejected {
		h.t.Fatalf("served the token that the caller rejected")
	}
	if need.Explicit && end.Sub(h.now) < need.Life {
		h.t.Fatalf("served %s of life, asked for %s", end.Sub(h.now), need.Life)
	}
}

func TestNoHistoryServesAnEndedTokenOrMintsWithoutAReason(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		life := portal()
		life.Refresh = rapid.SampledFrom([]session.RefreshMode{
			session.RefreshProbe, session.RefreshAssume, session.RefreshObserve,
		}).Draw(t, "mode")
		life.SafetyMargin = time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "margin"))
		life.MintAhead = rapid.SampledFrom([]time.Duration{0, 6 * hour, 5 * day}).Draw(t, "ahead")
		user := &history{t: t, portal: life, now: monday}
		t.Repeat(map[string]func(*rapid.T){
			"step": func(t *rapid.T) {
				// Whole milliseconds, as the stores keep; most steps short of a life, some far beyond.
				step := rapid.OneOf(rapid.Int64Range(0, 86_400_000), rapid.Int64Range(0, 10*86_400_000)).Draw(t, "ms")
				user.now = user.now.Add(time.Duration(step) * time.Millisecond)
			},
			"fetch": func(t *rapid.T) {
				need := session.Need{
					Explicit: rapid.Bool().Draw(t, "explicit"),
					Life:     time.Duration(rapid.Int64Range(0, int64(day)).Draw(t, "life")),
				}
				if rapid.Float64().Draw(t, "rejecting") < 0.1 {
					need.Rejected = user.token.ID
				}
				before := user.token
				user.fetch(life.Decide(user.token, user.now, need), need)
				user.never(before)
			},
			"activity": func(*rapid.T) {
				if life.Live(user.token, user.now) {
					user.token.ActiveAt = user.now
				}
			},
		})
	})
}

// never checks that a token's activity did not move back.
func (h *history) never(before session.Token) {
	if before.ID == h.token.ID && h.token.ActiveAt.Before(before.ActiveAt) {
		h.t.Fatalf("activity moved back from %s to %s", before.ActiveAt, h.token.ActiveAt)
	}
}

func TestCheckNamesTheBounds(t *testing.T) {
	t.Parallel()
	for life, ok := range map[time.Duration]bool{-1: false, 0: true, day: true, day + 1: false} {
		if err := portal().Check(explicit(life)); (err == nil) != ok {
			t.Errorf("a need of %s: %v", life, err)
		}
	}
}

func ExampleLifetime_Decide() {
	life := portal()
	token := sessiontest.NewToken("cm0r6nkek00ej10dwwx8wdjmf", monday)
	for _, after := range []time.Duration{hour, 13 * hour, 25 * hour} {
		decision := life.Decide(token, monday.Add(after), session.Need{})
		fmt.Printf("%s: %s %q\n", after, decision.Action, decision.Reason)
	}
	// Output:
	// 1h0m0s: serve ""
	// 13h0m0s: serve ""
	// 25h0m0s: mint "idle_expired"
}
