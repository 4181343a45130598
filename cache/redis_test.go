package cache_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// newClient returns a client that no other test uses.
func newClient() session.ClientID { return session.ClientID("c" + rand.Text()[:24]) }

// keyOf is the key of a client's token under the prefix p.
func keyOf(client session.ClientID) string { return keyUnder("p", client, "token") }

func TestRecordOutlastsItsTokenByAnIdleTime(t *testing.T) {
	t.Parallel()
	const never = -1
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	now := time.Now().UTC().Truncate(time.Millisecond)
	for name, c := range map[string]struct {
		minted, active, slide time.Duration // before now
		want                  time.Duration // after now
	}{
		"just saved, when it goes idle":                      {slide: never, want: day},
		"saved when active a while ago, when it goes idle":   {minted: 3 * day, active: hour, slide: never, want: day - hour},
		"saved in its last day, when its window ends":        {minted: 6*day + 12*hour, active: hour, slide: never, want: 12 * hour},
		"saved with a minute left, within the minute":        {minted: day - time.Minute, active: day - time.Minute, slide: never, want: time.Minute},
		"slid, when it goes idle after that":                 {minted: day - hour, active: day - hour, slide: time.Minute, want: day - time.Minute},
		"slid a moment before the last day, idle":            {minted: 6*day - time.Millisecond, active: hour, slide: 0, want: day},
		"slid to the last day's first moment, idle and over": {minted: 6 * day, active: hour, slide: 0, want: day},
		"slid a moment into the last day, when it is over":   {minted: 6*day + time.Millisecond, active: hour, slide: 0, want: day - time.Millisecond},
		"slid in its last day, when its window ends":         {minted: 6*day + 12*hour, active: hour, slide: time.Minute, want: 12 * hour},
		"slid back, where it was":                            {minted: 3 * day, active: hour, slide: 2 * hour, want: day - hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := newToken(newClient())
			token.MintedAt, token.ActiveAt = now.Add(-c.minted), now.Add(-c.active)
			save(t, store, token)
			if c.slide != never {
				wantMatch(t, session.MatchSame)(store.Slide(t.Context(), session.Move{Client: token.Client, ID: token.ID, At: now.Add(-c.slide)}))
			}
			token.ActiveAt = now.Add(-min(c.active, max(c.slide, 0)))
			latest := now.Add(c.want + day)
			got := time.UnixMilli(server.Do("PEXPIRETIME", keyOf(token.Client)).(int64))
			if !got.Equal(latest) {
				t.Errorf("the key expires at %s, want at %s", got.UTC(), latest)
			}
			if left := server.Do("PTTL", keyOf(token.Client)).(int64); left <= day.Milliseconds() || left > (c.want+day).Milliseconds() {
				t.Errorf("the key has %d ms left, its token has %s at most", left, c.want)
			}
		})
	}
}

func TestTokenAlreadyOverIsNotKept(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	token := newToken(alice)
	token.MintedAt, token.ActiveAt = token.MintedAt.Add(-8*day), token.ActiveAt.Add(-hour)
	token.Fence = 1 // without a lease it would take a fence
	save(t, store, token)
	wantLoaded(t, store, alice, session.Token{})
	if got := server.Do("DBSIZE"); got != int64(0) {
		t.Errorf("%v keys are left", got)
	}
}

func TestSlidePastAWindowThatGrewShorterMovesNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	// The window was longer when the token was saved.
	long := portal()
	long.RefreshWindow = 30 * day
	parts := partsOf(connect(t, server.URL()), "p", &cache.Changes{})
	parts.Lifetime = long
	before := cache.NewRedis(parts)
	token := newToken(alice)
	token.MintedAt = token.MintedAt.Add(-8 * day)
	token.ActiveAt = token.ActiveAt.Add(-hour)
	save(t, before, token)
	wantLoaded(t, store, alice, token)
	wantMatch(t, session.MatchNone)(store.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt.Add(hour)}))
	wantLoaded(t, store, alice, token)
}

func TestClientHasOneKeyASmallPlainString(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	token := newToken(alice)
	token.Fence = 1 // without a lease it would take a fence
	save(t, store, token)
	wantMatch(t, session.MatchSame)(store.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt.Add(time.Minute)}))
	if diff := cmp.Diff([]any{keyOf(alice)}, server.Do("KEYS", "*")); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if got := server.Do("TYPE", keyOf(alice)); got != "string" {
		t.Errorf("the record's type is %v", got)
	}
	if got, want := server.Do("STRLEN", keyOf(alice)), int64(58+9+45+len(token.Secret.Reveal())); got != want {
		t.Errorf("the record has %d bytes, want %d", got, want)
	}
	t.Logf("a token of %d bytes takes %d bytes of Redis's memory", len(token.Secret.Reveal()), server.Do("MEMORY", "USAGE", keyOf(alice)))
}

func TestEveryKeyHasThePrefixAndOneHashTag(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "team:p")
	token := newToken(alice)
	claim := session.Claim{Registration: session.Registration{Key: "any } { key"}, Owner: "me", Hold: time.Minute}
	token.Fence = 1 // without a lease it would take a fence
	save(t, store, token)
	wantMatch(t, session.MatchSame)(store.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt.Add(time.Minute)}))
	_, err := store.Claim(t.Context(), claim)
	must(t, err)
	must(t, store.Settle(t.Context(), claim, alice, time.Minute))
	keys, _ := server.Do("KEYS", "*").([]any)
	if len(keys) != 2 {
		t.Errorf("keys = %q, want the token's and the registration's", keys)
	}
	for _, key := range keys {
		key, _ := key.(string)
		tag, ok := strings.CutPrefix(key, "team:p:{")
		if !ok || strings.Count(key, "{") != 1 || strings.Count(key, "}") != 1 || strings.Index(tag, "}") == 0 {
			t.Errorf("key %q: want the prefix, and one hash tag", key)
		}
		if strings.HasSuffix(key, ":token") && key != keyUnder("team:p", alice, "token") {
			t.Errorf("key %q: want the hash of the client for a tag", key)
		}
	}
}

func TestPrefixesDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	ours, theirs := open(t, server.URL(), "p"), open(t, server.URL(), "p2")
	token := newToken(alice)
	claim := session.Claim{Registration: session.Registration{Key: "key"}, Owner: "me", Hold: time.Minute}
	save(t, ours, token)
	_, err := ours.Claim(t.Context(), claim)
	must(t, err)

	wantLoaded(t, theirs, alice, session.Token{})
	wantMatch(t, session.MatchNone)(theirs.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt.Add(time.Minute)}))
	wantMatch(t, session.MatchNone)(theirs.Forget(t.Context(), alice, session.TokenID{}))
	other := claim
	other.Owner = "them"
	if client, err := theirs.Claim(t.Context(), other); client != "" || err != nil {
		t.Errorf("claim under the other prefix = %q, %v", client, err)
	}
	wantLoaded(t, ours, alice, token)
}

func TestEachCallIsOneCommand(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	token := newToken(alice)
	claim := session.Claim{Registration: session.Registration{Key: "key"}, Owner: "me", Hold: time.Minute}
	leased := token
	leased.Fence = 1
	later := token.ActiveAt
	steps := []struct {
		name string
		work func() error
		want map[string]int // with those inside of scripts
	}{
		{"load of nothing", func() error { _, err := store.Load(t.Context(), alice); return err }, map[string]int{"get": 1}},
		{"acquire", func() error { _, err := store.Acquire(t.Context(), alice, "me"); return err }, map[string]int{"evalsha": 1, "get": 4, "set": 3, "time": 1}},
		{"renew", func() error { return store.Renew(t.Context(), session.Lease{Client: alice, Owner: "me"}) }, map[string]int{"evalsha": 1, "get": 1, "pexpire": 2}},
		{"commit", func() error { _, err := store.Commit(t.Context(), leased, 0); return err }, map[string]int{"evalsha": 1, "get": 2, "set": 1, "time": 1, "publish": 1}},
		{"let go", func() error { return store.LetGo(t.Context(), session.Lease{Client: alice, Owner: "me"}) }, map[string]int{"evalsha": 1, "get": 2, "del": 2, "publish": 1}},
		{"let go of nothing", func() error { return store.LetGo(t.Context(), session.Lease{Client: alice, Owner: "me"}) }, map[string]int{"evalsha": 1, "get": 2}},
		{"load", func() error { _, err := store.Load(t.Context(), alice); return err }, map[string]int{"get": 1}},
		{"slide", func() error {
			later = later.Add(time.Minute)
			_, err := store.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: later})
			return err
		}, map[string]int{"evalsha": 1, "get": 1, "set": 1, "time": 1}},
		{"slide to where it is", func() error {
			_, err := store.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: later})
			return err
		}, map[string]int{"evalsha": 1, "get": 1, "time": 1}},
		{"forget another", func() error { _, err := store.Forget(t.Context(), alice, newToken(alice).ID); return err }, map[string]int{"evalsha": 1, "get": 1}},
		{"forget", func() error { _, err := store.Forget(t.Context(), alice, token.ID); return err }, map[string]int{"evalsha": 1, "get": 1, "set": 1, "publish": 1}},
		{"restore of what was forgotten", func() error { _, err := store.Restore(t.Context(), token); return err }, map[string]int{"evalsha": 1, "get": 1}},
		{"claim", func() error { _, err := store.Claim(t.Context(), claim); return err }, map[string]int{"evalsha": 1, "get": 1, "set": 1}},
		{"settle", func() error { return store.Settle(t.Context(), claim, alice, time.Minute) }, map[string]int{"evalsha": 1, "get": 1, "set": 1}},
		{"claim of what is settled", func() error { _, err := store.Claim(t.Context(), claim); return err }, map[string]int{"evalsha": 1, "get": 1}},
		{"release of what is settled", func() error { return store.Release(t.Context(), claim) }, map[string]int{"evalsha": 1, "get": 1}},
		{"ping", func() error { return store.Ping(t.Context()) }, map[string]int{"ping": 1}},
	}
	for _, step := range steps {
		must(t, step.work()) // so that Redis knows the scripts
	}
	server.Do("FLUSHALL")
	for _, step := range steps {
		got := counted(func() { must(t, step.work()) }, server)
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: commands (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestNewConnectionTakesOneCommandMore(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	got := counted(func() { reach(t, fresh(t, server.URL()), alice) }, server)
	if diff := cmp.Diff(map[string]int{"hello": 1, "get": 1}, got); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	// A command that this version of Redis does not know is not among those counted.
	if stats, _ := server.Do("INFO", "stats").(string); !strings.Contains(stats, "total_error_replies:0\r") {
		t.Error("a command was refused")
	}
}

func TestScriptsThatRedisForgotAreSentAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	token := newToken(alice)
	claim := session.Claim{Registration: session.Registration{Key: "key"}, Owner: "me", Hold: time.Minute}
	for range 2 {
		save(t, store, token)
		for name, call := range map[string]func(context.Context) error{
			"slide": func(ctx context.Context) error {
				_, err := store.Slide(ctx, session.Move{Client: alice, ID: token.ID, At: token.ActiveAt.Add(time.Minute)})
				return err
			},
			"forget":  func(ctx context.Context) error { _, err := store.Forget(ctx, alice, newToken(alice).ID); return err },
			"claim":   func(ctx context.Context) error { _, err := store.Claim(ctx, claim); return err },
			"settle":  func(ctx context.Context) error { return store.Settle(ctx, claim, alice, time.Minute) },
			"release": func(ctx context.Context) error { return store.Release(ctx, claim) },
		} {
			server.Do("SCRIPT", "FLUSH")
			if err := call(t.Context()); err != nil {
				t.Errorf("%s after SCRIPT FLUSH: %v", name, err)
			}
		}
	}
	token.ActiveAt = token.ActiveAt.Add(time.Minute)
	wantLoaded(t, store, alice, token)
}

func TestForeignValueUnderTheKeyIsUnreadableAndGivesWayToAToken(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	for name, set := range map[string]func(key string){
		"a hash":               func(key string) { server.Do("HSET", key, "field", "value") },
		"a list":               func(key string) { server.Do("RPUSH", key, "value") },
		"a stream":             func(key string) { server.Do("XADD", key, "*", "field", "value") },
		"an empty string":      func(key string) { server.Do("SET", key, "") },
		"a number":             func(key string) { server.Do("SET", key, 1) },
		"text":                 func(key string) { server.Do("SET", key, strings.Repeat("text ", 50)) },
		"a megabyte":           func(key string) { server.Do("SET", key, strings.Repeat("\x01", 1<<20)) },
		"a record but zeroed":  func(key string) { server.Do("SET", key, strings.Repeat("\x00", 68)) },
		"a record cut short":   func(key string) { server.Do("SETRANGE", key, 0, strings.Repeat("\x01", 42)) },
		"a bitmap, all ones":   func(key string) { server.Do("SET", key, strings.Repeat("\xff", 68)) },
		"a counter in a range": func(key string) { server.Do("SETRANGE", key, 100, "x") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient()
			token := newToken(client)
			set(keyOf(client))
			if got, err := store.Load(t.Context(), client); !errors.Is(err, session.ErrRecordUnreadable) || !got.IsZero() {
				t.Errorf("Load = %+v, %v; want ErrRecordUnreadable", got, err)
			}
			if match, err := store.Slide(t.Context(), session.Move{Client: client, ID: token.ID, At: time.Now()}); match == session.MatchSame {
				t.Errorf("Slide found the token there: %v", err)
			}
			if match, err := store.Forget(t.Context(), client, token.ID); match == session.MatchSame {
				t.Errorf("Forget found the token there: %v", err)
			}
			save(t, store, token)
			wantLoaded(t, store, client, token)
		})
	}
}

func TestCorruptRecordIsUnreadableAndSlidesAndForgetsDoNoHarm(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	for name, corrupt := range map[string]func(record string) string{
		"another version":         func(r string) string { return "\x01" + r[1:] },
		"another token's id":      func(r string) string { return r[:1] + strings.Repeat("\x01", 16) + r[17:] },
		"another client's record": func(r string) string { return r[:17] + strings.Repeat("\x01", 8) + r[25:] },
		"dates of all ones":       func(r string) string { return r[:25] + strings.Repeat("\xff", 16) + r[41:] },
		"dates of zeros":          func(r string) string { return r[:25] + strings.Repeat("\x00", 16) + r[41:] },
		"flags not known":         func(r string) string { return r[:57] + "\x04" + r[58:] },
		"a torn secret":           func(r string) string { return r[:len(r)-1] },
		"a longer secret":         func(r string) string { return r + "x" },
		"a doubt of all ones":     func(r string) string { return r[:49] + strings.Repeat("\xff", 8) + r[57:] },
		"no secret":               func(r string) string { return r[:58] },
		"cut after the id":        func(r string) string { return r[:17] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := newToken(newClient())
			key := keyOf(token.Client)
			save(t, store, token)
			server.Do("SET", key, corrupt(server.Do("GET", key).(string)), "PX", 60_000)
			wantUnreadable(t, store, token.Client)
			_, err := store.Slide(t.Context(), session.Move{Client: token.Client, ID: token.ID, At: time.Now().Add(time.Minute)})
			must(t, err)
			if got, err := store.Load(t.Context(), token.Client); !got.IsZero() || err != nil && !errors.Is(err, session.ErrRecordUnreadable) {
				t.Errorf("Load after a slide = %+v, %v", got, err)
			}
			_, err = store.Forget(t.Context(), token.Client, token.ID)
			must(t, err)
			_, err = store.Forget(t.Context(), token.Client, session.TokenID{})
			must(t, err)
			wantLoaded(t, store, token.Client, session.Token{})
		})
	}
}

func TestSlideLeavesARecordOfAnotherVersionAsItIs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	token := newToken(alice)
	save(t, store, token)
	newer := "\x04" + server.Do("GET", keyOf(alice)).(string)[1:]
	server.Do("SET", keyOf(alice), newer)
	wantMatch(t, session.MatchNone)(store.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt.Add(hour)}))
	wantMatch(t, session.MatchNone)(store.Slide(t.Context(), session.Move{Client: alice, ID: session.TokenID{}, At: token.ActiveAt.Add(hour)}))
	if got := server.Do("GET", keyOf(alice)); got != newer {
		t.Errorf("the record is %q, was %q", got, newer)
	}
}

func wantUnreadable(t *testing.T, store session.Store, client session.ClientID) {
	t.Helper()
	if got, err := store.Load(t.Context(), client); !errors.Is(err, session.ErrRecordUnreadable) || !got.IsZero() {
		t.Errorf("Load = %+v, %v; want ErrRecordUnreadable", got, err)
	}
}

func TestRecordCopiedToAnotherClientIsUnreadable(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	token := newToken(newClient())
	save(t, store, token)
	server.Do("COPY", keyOf(token.Client), keyOf(alice))
	wantUnreadable(t, store, alice)
	wantLoaded(t, store, token.Client, token)
}

func TestFlushedRedisMissesAndFillsAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	token := newToken(alice)
	save(t, store, token)
	server.Do("FLUSHALL")
	wantLoaded(t, store, alice, session.Token{})
	wantMatch(t, session.MatchNone)(store.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt.Add(time.Minute)}))
	wantMatch(t, session.MatchNone)(store.Forget(t.Context(), alice, token.ID))
	save(t, store, token)
	wantLoaded(t, store, alice, token)
}

func TestRegistrationIsFreeAgainOnceItsHoldOrItsKeepIsOver(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	claim := session.Claim{Registration: session.Registration{Key: "key"}, Owner: "me", Hold: 15 * time.Second}
	_, err := store.Claim(t.Context(), claim)
	must(t, err)
	keys, _ := server.Do("KEYS", "*").([]any)
	if left := server.Do("PTTL", keys[0]).(int64); left <= 0 || left > 15_000 {
		t.Errorf("the claim holds for %d ms, want 15 s at most", left)
	}
	must(t, store.Settle(t.Context(), claim, alice, day))
	if left := server.Do("PTTL", keys[0]).(int64); left <= 15_000 || left > day.Milliseconds() {
		t.Errorf("the registration is kept for %d ms, want a day at most", left)
	}
}

func TestClaimThatRanOutIsSettledUnlessTheKeyIsTaken(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	claim := session.Claim{Registration: session.Registration{Key: "key"}, Owner: "us", Hold: time.Minute}
	_, err := store.Claim(t.Context(), claim)
	must(t, err)
	server.Do("FLUSHALL")
	must(t, store.Settle(t.Context(), claim, "made", time.Minute))
	if got, err := store.Claim(t.Context(), claim); got != "made" || err != nil {
		t.Errorf("claim = %q, %v; want the client made", got, err)
	}
}
