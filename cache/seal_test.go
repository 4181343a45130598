package cache_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// sealWith returns a seal under the prefix p of who has these Portal API Keys and, if there is one, this keyset.
func sealWith(tb testing.TB, keyset []byte, keys ...string) *cache.Seal {
	tb.Helper()
	parts := cache.SealParts{Prefix: "p", Window: 7 * day, Key: session.NewSecret(keys[0]), Keyset: keyset}
	for _, key := range keys[1:] {
		parts.Others = append(parts.Others, session.NewSecret(key))
	}
	seal, err := cache.NewSeal(parts)
	must(tb, err)
	return seal
}

// rotation returns the content of a file of seal keys after each step of a rotation, that before the first included.
func rotation(tb testing.TB) (files [][]byte) {
	tb.Helper()
	content, err := cache.NewKeyset()
	must(tb, err)
	files = append(files, content)
	for _, step := range []func([]byte) ([]byte, error){cache.AddKey, cache.PromoteKey, cache.RetireKeys} {
		content, err = step(content)
		must(tb, err)
		files = append(files, content)
	}
	return files
}

// populate has Redis keep all that it may keep of n clients, and returns their tokens.
func populate(t *testing.T, store *cache.Redis, n int) (tokens []session.Token) {
	t.Helper()
	for range n {
		token := newToken(newClient())
		lease, err := store.Acquire(t.Context(), token.Client, "owner")
		must(t, err)
		token.Fence = lease.Fence
		_, err = store.Commit(t.Context(), token, lease.Seen)
		must(t, err)
		must(t, store.Abandon(t.Context(), lease))
		_, err = store.Acquire(t.Context(), token.Client, "another")
		must(t, err)
		wantMatch(t, session.MatchSame)(store.Slide(t.Context(), session.Move{
			Client: token.Client, ID: token.ID, At: token.ActiveAt.Add(time.Minute), Doubt: time.Now().Add(time.Minute),
		}))
		claim := session.Claim{Registration: session.Registration{Key: "idempotency-" + string(token.Client)}, Owner: "owner", Hold: time.Minute}
		_, err = store.Claim(t.Context(), claim)
		must(t, err)
		must(t, store.Settle(t.Context(), claim, token.Client, time.Hour))
		gone := newToken(newClient())
		save(t, store, gone)
		wantMatch(t, session.MatchSame)(store.Forget(t.Context(), gone.Client, gone.ID))
		tokens = append(tokens, token, gone)
	}
	return tokens
}

// dump returns all that a server holds, as text.
func dump(server *redistest.Server) string {
	var all strings.Builder
	keys, _ := server.Do("KEYS", "*").([]any)
	for _, key := range keys {
		fmt.Fprintln(&all, key, server.Do("GET", key), server.Do("DUMP", key))
	}
	return all.String()
}

// shapes are the forms in which a text might lie about.
func shapes(text string) map[string]string {
	sum := sha256.Sum256([]byte(text))
	return map[string]string{
		"in clear": text, "half of it": text[len(text)/2:], "in hex": hex.EncodeToString([]byte(text)),
		"in base64": base64.RawStdEncoding.EncodeToString([]byte(text)), "in URL's base64": base64.RawURLEncoding.EncodeToString([]byte(text)),
		"hashed without a key": string(sum[:8]), "hashed without a key, in hex": hex.EncodeToString(sum[:8]),
	}
}

func TestNothingInRedisAndNoMessageHoldsATokenOrAClient(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	must(t, store.Agree(t.Context()))
	listener := connect(t, server.URL()).PSubscribe(t.Context(), "*")
	defer func() { _ = listener.Close() }()
	_, err := listener.Receive(t.Context())
	must(t, err)
	var messages strings.Builder
	heard := listener.Channel()
	tokens := populate(t, store, 20)
	for range 4 * len(tokens) / 2 { // two commits, a forget, and a slide that doubts; the leases are abandoned besides
		select {
		case message := <-heard:
			fmt.Fprintln(&messages, message.Channel, message.Payload)
		case <-time.After(20 * time.Second):
			t.Fatal("too few messages came")
		}
	}
	kept, _ := server.Do("DBSIZE").(int64)
	for where, text := range map[string]string{"Redis": dump(server), "a message": messages.String()} {
		for _, token := range tokens {
			for form, shape := range shapes(token.Secret.Reveal()) {
				// The first bytes of a token's hash are its id, which may be seen.
				if !strings.HasPrefix(form, "hashed") && strings.Contains(text, shape) {
					t.Errorf("%s holds a token %s", where, form)
				}
			}
			for form, shape := range shapes(string(token.Client)) {
				if strings.Contains(text, shape) {
					t.Errorf("%s holds a client id %s", where, form)
				}
			}
		}
		for form, shape := range shapes(custodian.Reveal()) {
			if strings.Contains(text, shape) {
				t.Errorf("%s holds the Portal API Key %s", where, form)
			}
		}
	}
	t.Logf("%d keys and %d bytes of messages, about %d clients, hold none of them", kept, messages.Len(), len(tokens))
}

func TestRecordUnderAnotherClientsKeyIsCountedAndGivesWayToAToken(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(server *redistest.Server, from, to session.Token){
		"copied": func(server *redistest.Server, from, to session.Token) {
			server.Do("COPY", keyOf(from.Client), keyOf(to.Client), "REPLACE")
		},
		"copied, with the head of the other": func(server *redistest.Server, from, to session.Token) {
			head, _ := server.Do("GETRANGE", keyOf(to.Client), 0, 57).(string)
			sealed, _ := server.Do("GETRANGE", keyOf(from.Client), 58, -1).(string)
			server.Do("SET", keyOf(to.Client), head+sealed)
		},
		"from another prefix": func(server *redistest.Server, from, to session.Token) {
			elsewhere := open(t, server.URL(), "p2")
			save(t, elsewhere, to)
			server.Do("COPY", keyUnder("p2", to.Client, "token"), keyOf(to.Client), "REPLACE")
		},
		"of the version before": func(server *redistest.Server, from, to session.Token) {
			record, _ := server.Do("GET", keyOf(to.Client)).(string)
			server.Do("SET", keyOf(to.Client), "\x02"+record[1:58]+to.Secret.Reveal())
		},
		"sealed with a key that nobody has": func(server *redistest.Server, from, to session.Token) {
			parts := partsOf(connect(t, server.URL()), "p", &cache.Changes{})
			parts.Seal = sealWith(t, nil, "another-key")
			other := cache.NewRedis(parts)
			save(t, other, to)
			server.Do("COPY", parts.Seal.Key(to.Client, "token"), keyOf(to.Client), "REPLACE")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			store, counted := counting(t, server.URL())
			from, to := newToken(newClient()), newToken(newClient())
			from.Fence, to.Fence = 1, 1
			save(t, store, from)
			save(t, store, to)
			put(server, from, to)
			wantUnreadable(t, store, to.Client)
			if n := counted.Load(); n != 1 {
				t.Errorf("%d unreadable records were counted, want 1", n)
			}
			next := newToken(to.Client)
			next.Fence = 2
			_, err := store.Commit(t.Context(), next, to.Fence)
			must(t, err)
			wantLoaded(t, store, to.Client, next)
			wantLoaded(t, store, from.Client, from)
		})
	}
}

func TestRegistrationThatCannotBeOpenedIsAnErrorAndNoSecondClient(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store, counted := counting(t, server.URL())
	claims := []session.Claim{}
	for _, key := range []string{"first", "second"} {
		claim := session.Claim{Registration: session.Registration{Key: key}, Owner: "me", Hold: time.Minute}
		_, err := store.Claim(t.Context(), claim)
		must(t, err)
		must(t, store.Settle(t.Context(), claim, newClient(), time.Hour))
		claims = append(claims, claim)
	}
	keys, _ := server.Do("KEYS", "*:registration").([]any)
	server.Do("COPY", keys[0], keys[1], "REPLACE") // each now tells of the same client
	var wrong int
	for _, claim := range claims {
		if client, err := store.Claim(t.Context(), claim); err != nil && client == "" {
			wrong++
		}
	}
	if wrong != 1 || counted.Load() != 1 {
		t.Errorf("%d of the two registrations were refused and %d counted, want 1 of each", wrong, counted.Load())
	}
}

func TestRecordIsSealedAnewWhenItIsReadAndNothingElseOfItChanges(t *testing.T) {
	t.Parallel()
	server, files := redistest.Start(t), rotation(t)
	seal := sealWith(t, files[0], "custodian-key")
	store, counted := counting(t, server.URL(), seal)
	token := newToken(alice)
	token.Fence, token.Suspect, token.AccountAbstracted = 7, true, true
	save(t, store, token)
	wantMatch(t, session.MatchSame)(store.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt.Add(hour)}))
	token.ActiveAt = token.ActiveAt.Add(hour)
	key := seal.Key(alice, "token")
	before, expires := server.Do("GET", key).(string), server.Do("PEXPIRETIME", key)
	must(t, seal.Reload(files[1]))
	wantLoaded(t, store, alice, token)
	if got := server.Do("GET", key); got != before {
		t.Error("it was sealed anew before there was a need")
	}
	must(t, seal.Reload(files[2]))
	wantLoaded(t, store, alice, token)
	after := server.Do("GET", key).(string)
	if after[:58] != before[:58] || after[58:63] == before[58:63] || server.Do("PEXPIRETIME", key) != expires {
		t.Errorf("the record was %q, is %q, or expires at another time", before, after)
	}
	wantLoaded(t, store, alice, token)
	if got := server.Do("GET", key); got != after {
		t.Error("it was sealed anew again")
	}
	// Whoever never had the first key reads it.
	only, more := counting(t, server.URL(), sealWith(t, files[3], "custodian-key"))
	wantLoaded(t, only, alice, token)
	if n := counted.Load() + more.Load(); n != 0 {
		t.Errorf("%d unreadable records were counted", n)
	}
}

func TestRecordThatChangedSinceItWasReadIsNotSealedAnew(t *testing.T) {
	t.Parallel()
	server, files := redistest.Start(t), rotation(t)
	seal := sealWith(t, files[0], "custodian-key")
	store, _ := counting(t, server.URL(), seal)
	old, next := newToken(alice), newToken(alice)
	old.Fence, next.Fence = 1, 2
	save(t, store, old)
	must(t, seal.Reload(files[2]))
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() { _, _ = store.Load(t.Context(), alice) })
	}
	group.Go(func() { _, err := store.Commit(t.Context(), next, 1); must(t, err) })
	group.Wait()
	wantLoaded(t, store, alice, next)
}

// Two replicas take the steps of a rotation one after the other, again and again, while both are read and written all the
// time. Every read finds its token, so nothing would be minted.
func TestRotationOfTheSealKeysLosesNoRecordAndFailsNoCall(t *testing.T) {
	t.Parallel()
	const clients, rotations = 40, 5
	server, files := redistest.Start(t), rotation(t)
	seals := []*cache.Seal{sealWith(t, files[0], "custodian-key"), sealWith(t, files[0], "custodian-key")}
	var stores []*cache.Redis
	var counters []*atomic.Int64
	for _, seal := range seals {
		store, counted := counting(t, server.URL(), seal)
		stores, counters = append(stores, store), append(counters, counted)
	}
	tokens := make([]session.Token, clients)
	for i := range tokens {
		tokens[i] = newToken(newClient())
		save(t, stores[0], tokens[i])
	}
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	var calls, bad, slow atomic.Int64
	for reader := range 4 {
		group.Go(func() {
			for i := reader; ctx.Err() == nil; i++ {
				token, store := tokens[i%clients], stores[i%2]
				got, err := store.Load(context.WithoutCancel(ctx), token.Client)
				calls.Add(1)
				match, failed := store.Slide(context.WithoutCancel(ctx), session.Move{Client: token.Client, ID: token.ID, At: time.Now()})
				switch {
				case tooSlow(err, failed): // it says nothing of keys
					slow.Add(1)
				case err != nil || got.ID != token.ID || failed != nil || match != session.MatchSame:
					bad.Add(1)
				}
			}
		})
	}
	content := files[0]
	for range rotations {
		for _, step := range []func([]byte) ([]byte, error){cache.AddKey, cache.PromoteKey, cache.RetireKeys} {
			var err error
			content, err = step(content)
			must(t, err)
			for _, seal := range seals {
				passed(t, &calls, 2*clients) // each replica comes to it by itself
				must(t, seal.Reload(content))
			}
			passed(t, &calls, 4*clients)
		}
	}
	stop()
	group.Wait()
	t.Logf("%d rotations on two replicas under %d reads: %d went wrong, %d timed out, %d records were unreadable",
		rotations, calls.Load(), bad.Load(), slow.Load(), counters[0].Load()+counters[1].Load())
	if bad.Load() != 0 || slow.Load() > calls.Load()/10 || counters[0].Load()+counters[1].Load() != 0 {
		t.Error("a rotation cost something")
	}
	last, counted := counting(t, server.URL(), sealWith(t, content, "custodian-key"))
	for _, token := range tokens {
		got, err := last.Load(t.Context(), token.Client)
		if !tooSlow(err) && (err != nil || got.ID != token.ID) || counted.Load() != 0 {
			t.Errorf("whoever has the last keys alone loads %+v, %v", got, err)
		}
	}
}

// passed returns once there were that many calls more.
func passed(t *testing.T, calls *atomic.Int64, more int64) {
	t.Helper()
	until := calls.Load() + more
	await(t, "calls to go on", func() bool { return calls.Load() >= until })
}

func TestRotationOfThePortalAPIKeyLosesNoRecordOfReplicasThatKnowTheNext(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	running := sealWith(t, nil, "first")
	store, counted := counting(t, server.URL(), running)
	must(t, store.Agree(t.Context()))
	token, later := newToken(alice), newToken(newClient())
	save(t, store, token)

	must(t, running.Rotate(session.NewSecret("first"), session.NewSecret("second")))
	must(t, store.Agree(t.Context()))
	must(t, running.Rotate(session.NewSecret("second"), session.NewSecret("first")))
	must(t, store.Agree(t.Context()))
	wantLoaded(t, store, alice, token) // and so it is sealed anew
	save(t, store, later)

	for name, seal := range map[string]*cache.Seal{
		"with the second key alone":            sealWith(t, nil, "second"),
		"with the first, and the second next":  sealWith(t, nil, "first", "second"),
		"with the second, and the first still": sealWith(t, nil, "second", "first"),
	} {
		t.Run("whoever starts "+name, func(t *testing.T) {
			t.Parallel()
			fresh, more := counting(t, server.URL(), seal)
			must(t, fresh.Agree(t.Context()))
			wantLoaded(t, fresh, alice, token)
			wantLoaded(t, fresh, later.Client, later)
			if n := more.Load(); n != 0 {
				t.Errorf("%d records were unreadable", n)
			}
		})
	}
	if n := counted.Load(); n != 0 {
		t.Errorf("%d records were unreadable to who was there all the time", n)
	}
}

func TestReplicasWithOtherKeysLeaveEachOthersRecordsAlone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	ours, _ := counting(t, server.URL(), sealWith(t, nil, "first"))
	theirs, counted := counting(t, server.URL(), sealWith(t, nil, "second"))
	must(t, ours.Agree(t.Context()))
	must(t, theirs.Agree(t.Context()))
	token, other := newToken(alice), newToken(alice)
	save(t, ours, token)
	wantLoaded(t, theirs, alice, session.Token{})
	save(t, theirs, other)
	wantLoaded(t, ours, alice, token)
	wantLoaded(t, theirs, alice, other)
	if n := counted.Load(); n != 0 {
		t.Errorf("%d records were unreadable", n)
	}
}

func TestNamesAreAgreedOnAgainWhereRedisLostThem(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	running := sealWith(t, nil, "first")
	store, _ := counting(t, server.URL(), running)
	must(t, running.Rotate(session.NewSecret("second")))
	must(t, store.Agree(t.Context()))
	server.Do("FLUSHALL")
	must(t, store.Agree(t.Context()))
	if n := server.Do("DBSIZE"); n != int64(0) {
		t.Errorf("%v keys are back though nobody said that they were lost", n)
	}
	store.Disagree()
	must(t, store.Agree(t.Context()))
	token := newToken(alice)
	save(t, store, token)
	fresh, _ := counting(t, server.URL(), sealWith(t, nil, "second"))
	must(t, fresh.Agree(t.Context()))
	wantLoaded(t, fresh, alice, token)
}

func TestReplicaThatAdoptsOtherNamesTellsThatAllChanged(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	early, late := sealWith(t, nil, "first", "second"), sealWith(t, nil, "second")
	store, _ := counting(t, server.URL(), early)
	must(t, store.Agree(t.Context()))
	var told int
	late.Changed = func() { told++ }
	fresh, _ := counting(t, server.URL(), late)
	if early.Key(alice, "token") == late.Key(alice, "token") {
		t.Fatal("they agree already")
	}
	must(t, fresh.Agree(t.Context()))
	if early.Key(alice, "token") != late.Key(alice, "token") || told != 1 {
		t.Errorf("the names differ, or it was told %d times", told)
	}
	if keys, _ := server.Do("KEYS", "*").([]any); len(keys) != 2 || slices.Contains(keys, nil) {
		t.Errorf("keys = %q, want the names for both keys", keys)
	}
}

func TestMessageThatCannotBeReadCountsAsMissed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := startReplica(t, server.URL())
	for name, message := range map[string]string{
		"in clear": string(alice) + " ", "not base64": "!!! ", "empty": "", "forged": strings.Repeat("A", 100) + " ",
	} {
		before := r.lost.Load()
		server.Do("PUBLISH", "p:changed", message)
		await(t, "a message that is "+name+" to count as missed", func() bool { return r.lost.Load() > before })
	}
}

func TestWhatIsRememberedIsSealedAnewAsSoonAsAnotherKeySeals(t *testing.T) {
	t.Parallel()
	server, files := redistest.Start(t), rotation(t)
	seal := sealWith(t, files[1], "custodian-key")
	store, _ := counting(t, server.URL(), seal)
	tier := newTier(t, cache.TierParts{Store: store, TTL: hour})
	seal.Changed = tier.Lost
	var tokens []session.Token
	for range 30 {
		token := newToken(newClient())
		save(t, tier, token)
		tokens = append(tokens, token)
	}
	must(t, seal.Reload(files[2]))
	tier.Settle(t.Context()) // though nobody fetches
	retired, counted := counting(t, server.URL(), sealWith(t, files[3], "custodian-key"))
	for _, token := range tokens {
		wantLoaded(t, retired, token.Client, token)
	}
	if n := counted.Load(); n != 0 {
		t.Errorf("%d records were unreadable without the first key", n)
	}
}
