package cache_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// model is what one client's keys are to be, by the pure rule.
type model struct {
	t      *testing.T
	server *redistest.Server
	store  *cache.Redis
	client session.ClientID

	kept   session.Token
	latest uint64
	// highest is the highest fence that was ever given.
	highest uint64
	holder  string
	// leases are all that were ever taken, lost ones too; the zero one is none.
	leases []session.Lease
	// tokens are all that were ever committed.
	tokens []session.Token
	// lost: a reply came too late, and nobody knows what became of the call. The history ends there.
	lost bool
}

// late reports whether the reply that came with err was too late to tell.
func (m *model) late(err error) bool {
	m.lost = m.lost || tooSlow(err)
	return m.lost
}

func (m *model) acquire(t *rapid.T) {
	owner := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "owner")
	lease, err := m.store.Acquire(m.t.Context(), m.client, owner)
	if m.late(err) {
		return
	}
	if m.holder != "" && m.holder != owner {
		if !errors.Is(err, session.ErrLeaseBusy) {
			t.Fatalf("%s acquired %+v, %v; %s holds it", owner, lease, err, m.holder)
		}
		return
	}
	switch {
	case m.latest == 0 && lease.Fence > max(m.highest, m.kept.Fence):
		m.latest = lease.Fence // Redis forgot, and has begun again with the time
	case m.holder == "":
		m.latest = max(m.latest, m.kept.Fence) + 1
	}
	m.holder, m.highest = owner, max(m.highest, m.latest)
	if err != nil || lease.Fence != m.latest || lease.Seen != m.kept.Fence {
		t.Fatalf("%s acquired %+v, %v; want fence %d, seen %d", owner, lease, err, m.latest, m.kept.Fence)
	}
	m.leases = append(m.leases, lease)
}

func (m *model) letGo(t *rapid.T) {
	lease := rapid.SampledFrom(m.leases).Draw(t, "lease")
	err := m.store.LetGo(m.t.Context(), session.Lease{Client: m.client, Owner: lease.Owner})
	if m.late(err) {
		return
	}
	if !errors.Is(err, session.ErrLeaseDoubt) {
		must(m.t, err)
	}
	if lease.Owner == m.holder {
		m.holder = ""
	}
}

func (m *model) runOut(*rapid.T) {
	m.server.Do("DEL", leaseOf(m.client))
	m.holder = ""
}

func (m *model) forgetFence(*rapid.T) {
	m.server.Do("DEL", keyUnder("p", m.client, "fence"))
	m.latest = 0
}

func (m *model) commit(t *rapid.T) {
	lease := rapid.SampledFrom(m.leases).Draw(t, "lease")
	minted := time.Duration(rapid.IntRange(-5, 5).Draw(t, "minted")) * time.Minute
	token := sessiontest.NewToken(m.client, time.Now().Add(minted))
	token.Fence = lease.Fence
	m.commits(t, token, lease.Seen)
}

func (m *model) commitAgain(t *rapid.T) {
	token := rapid.SampledFrom(m.tokens).Draw(t, "token")
	m.commits(t, token, rapid.SampledFrom(m.leases).Draw(t, "lease").Seen)
}

func (m *model) commits(t *rapid.T, token session.Token, seen uint64) {
	m.tokens = append(m.tokens, token)
	m.kept = session.Kept(m.kept, token, seen, m.latest)
	got, err := m.store.Commit(m.t.Context(), token, seen)
	if m.late(err) {
		return
	}
	if token.Fence == 0 {
		m.raced(t)
	}
	if diff := cmp.Diff(m.kept, got); diff != "" || err != nil {
		t.Fatalf("commit: %v, kept (-want +got):\n%s", err, diff)
	}
}

// raced: a commit without a lease takes a fence, so that whoever mints under a lease knows.
func (m *model) raced(t *rapid.T) {
	text, _ := m.server.Do("GET", keyUnder("p", m.client, "fence")).(string)
	fence, err := strconv.ParseUint(text, 10, 64)
	if err != nil || m.latest > 0 && fence != m.latest+1 || fence <= m.highest {
		t.Fatalf("the fence after a commit without a lease is %q, %v; it was %d, %d at the most", text, err, m.latest, m.highest)
	}
	m.latest, m.highest = fence, fence
}

// id draws a token id: that of the token kept, another, or any.
func (m *model) id(t *rapid.T) session.TokenID {
	return rapid.SampledFrom([]session.TokenID{m.kept.ID, newToken(m.client).ID, {}}).Draw(t, "id")
}

func (m *model) match(id session.TokenID) session.Match {
	switch {
	case m.kept.IsZero():
		return session.MatchNone
	case !id.IsZero() && id != m.kept.ID:
		return session.MatchOther
	}
	return session.MatchSame
}

func (m *model) slide(t *rapid.T) {
	at := m.kept.ActiveAt.Add(time.Duration(rapid.IntRange(-100, 100).Draw(t, "by")) * time.Millisecond)
	if m.kept.IsZero() {
		at = time.Now()
	}
	move := session.Move{Client: m.client, ID: m.id(t), At: at, Clears: rapid.Bool().Draw(t, "clears")}
	want := m.match(move.ID)
	if want == session.MatchSame {
		m.kept = move.Of(m.kept)
	}
	if got, err := m.store.Slide(m.t.Context(), move); !m.late(err) && (got != want || err != nil) {
		t.Fatalf("slide = %v, %v; want %v", got, err, want)
	}
}

func (m *model) forget(t *rapid.T) {
	id := m.id(t)
	want := m.match(id)
	if want == session.MatchSame {
		m.kept = session.Token{}
	}
	if got, err := m.store.Forget(m.t.Context(), m.client, id); !m.late(err) && (got != want || err != nil) {
		t.Fatalf("forget = %v, %v; want %v", got, err, want)
	}
}

func (m *model) check(t *rapid.T) {
	got, err := m.store.Look(m.t.Context(), m.client)
	if m.late(err) {
		return
	}
	if diff := cmp.Diff(m.kept, got); diff != "" || err != nil {
		t.Fatalf("look: %v, token (-want +got):\n%s", err, diff)
	}
	if m.kept.IsZero() {
		return
	}
	want := portal().ExpiresAt(m.kept).Add(day).UnixMilli()
	if expires := m.server.Do("PEXPIRETIME", keyOf(m.client)); expires != want {
		t.Fatalf("the record expires at %v, want %d", expires, want)
	}
}

func TestRedisKeepsWhatTheRuleSaysWhateverHappens(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	told, lost := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		client := newClient()
		m := &model{
			t: t, server: server, store: store, client: client,
			leases: []session.Lease{{}}, tokens: []session.Token{newToken(client)},
		}
		steps := map[string]func(*rapid.T){
			"acquire": m.acquire, "let go": m.letGo, "run out": m.runOut, "forget the fence": m.forgetFence,
			"commit": m.commit, "commit more": m.commit, "commit again": m.commitAgain,
			"slide": m.slide, "forget": m.forget, "": m.check,
		}
		for name, step := range steps {
			steps[name] = func(t *rapid.T) {
				if !m.lost {
					step(t)
				}
			}
		}
		rt.Repeat(steps)
		told++
		if m.lost {
			lost++
		}
	})
	if 2*lost > told {
		t.Errorf("of %d histories %d ended early, since Redis was too slow", told, lost)
	}
}

// Redis lost its data while there was a mint under a lease, and a replica without one has minted meanwhile.
func TestCommitBesideOneWithoutALeaseIsSuspectThoughRedisLostTheFence(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	lease := acquire(t, store, alice, "us")
	server.Do("FLUSHALL")
	save(t, store, newToken(alice))
	token := newToken(alice)
	token.Fence = lease.Fence
	if kept, err := store.Commit(t.Context(), token, lease.Seen); err != nil || !kept.Suspect {
		t.Errorf("kept %+v, %v; want it suspect", kept, err)
	}
}

func TestRefusedCommitLeavesTheExpiryAsItIs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	token, late := newToken(alice), newToken(alice)
	token.Fence, late.Fence = 2, 1
	token.ActiveAt, token.MintedAt = token.ActiveAt.Add(-hour), token.MintedAt.Add(-hour)
	save(t, store, token)
	want := server.Do("PEXPIRETIME", keyOf(alice))
	kept, err := store.Commit(t.Context(), late, 0)
	if err != nil || kept.ID != token.ID || !kept.Suspect {
		t.Errorf("kept %+v, %v; want the newer token, suspect", kept, err)
	}
	if got := server.Do("PEXPIRETIME", keyOf(alice)); got != want {
		t.Errorf("the record expires at %v, did at %v", got, want)
	}
}

// asked is an operation on one client's record, kept what came of it. A load has no token.
type (
	asked struct {
		token session.Token
		seen  uint64
	}
	kept struct {
		id      session.TokenID
		fence   uint64
		minted  int64
		suspect bool
	}
)

func keptOf(t session.Token) kept {
	return kept{id: t.ID, fence: t.Fence, minted: t.MintedAt.UnixMilli(), suspect: t.Suspect}
}

// registered is what a register holds; raced is the fence of a commit without a lease, higher than that of any lease here.
type registered struct {
	token session.Token
	raced uint64
}

// register is a register that holds what the rule says, one operation after the other.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return registered{} },
		Step: func(state, input, output any) (bool, any) {
			now, op := state.(registered), input.(asked)
			if !op.token.IsZero() {
				now.token = session.Kept(now.token, op.token, op.seen, now.raced)
				if op.token.Fence == 0 {
					now.raced = 1 << 50
				}
			}
			return keptOf(now.token) == output.(kept), now
		},
		Equal: func(a, b any) bool {
			one, other := a.(registered), b.(registered)
			return keptOf(one.token) == keptOf(other.token) && one.raced == other.raced
		},
	}
}

func TestCommitsAndLoadsAreLinearizable(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	stores := []*cache.Redis{open(t, server.URL(), "p"), open(t, server.URL(), "p"), open(t, server.URL(), "p")}
	var history []porcupine.Operation
	for range 20 {
		for tries := 1; ; tries++ {
			var err error
			history, err = record(t, stores)
			if err == nil {
				break
			}
			if tries == 3 || !tooSlow(err) {
				t.Fatalf("an operation of a Redis that is well: %v", err)
			}
			t.Logf("Redis was too slow: once more, after %v", err)
		}
		if !porcupine.CheckOperations(register(), history) {
			t.Fatal("a history is not linearizable")
		}
	}
	last := history[len(history)-1].Output.(kept)
	for name, corrupt := range map[string]func(kept) kept{
		"another token is kept": func(k kept) kept { k.id = newToken(alice).ID; return k },
		"nothing is kept":       func(kept) kept { return keptOf(session.Token{}) },
		"the fence went back":   func(k kept) kept { k.fence--; return k },
		"the suspicion is gone": func(k kept) kept { k.suspect = !k.suspect; return k },
	} {
		t.Run("refused: "+name, func(t *testing.T) {
			t.Parallel()
			corrupted := slices.Clone(history)
			corrupted[len(corrupted)-1].Output = corrupt(last)
			if porcupine.CheckOperations(register(), corrupted) {
				t.Error("a corrupted history was accepted")
			}
		})
	}
}

// record has several callers commit and load one client's token at once, and returns what they saw; the last operation
// is a load after all others. With an error nobody knows what became of an operation.
func record(t *testing.T, stores []*cache.Redis) ([]porcupine.Operation, error) {
	t.Helper()
	const callers, each = 5, 8
	client, began := newClient(), time.Now()
	fences := rand.Perm(callers * each)
	var mu sync.Mutex
	var history []porcupine.Operation
	var failed error
	run := func(caller int, op asked) {
		store, call := stores[caller%len(stores)], time.Since(began)
		var token session.Token
		var err error
		if op.token.IsZero() {
			token, err = store.Look(t.Context(), client)
		} else {
			token, err = store.Commit(t.Context(), op.token, op.seen)
		}
		mu.Lock()
		defer mu.Unlock()
		failed = errors.Join(failed, err)
		history = append(history, porcupine.Operation{
			ClientId: caller, Input: op, Output: keptOf(token), Call: int64(call), Return: int64(time.Since(began)),
		})
	}
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			for i := range each {
				fence := fences[caller*each+i]
				token := newToken(client)
				token.Fence = uint64(fence / 2) // 0 is without a lease
				switch fence % 4 {
				case 0:
					run(caller, asked{})
				default:
					run(caller, asked{token: token, seen: uint64(max(fence/2-1, 0))})
				}
			}
		})
	}
	group.Wait()
	run(callers, asked{})
	return history, failed
}
