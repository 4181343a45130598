package session_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// register returns what the Broker makes of a registration that must succeed.
func (w *world) register(b *session.Broker, registration session.Registration) session.Grant {
	w.t.Helper()
	grant, err := b.Register(w.t.Context(), registration)
	if err != nil {
		w.t.Errorf("register: %v", err)
	}
	if err == nil && !w.portal.Accepts(grant.Token) {
		w.t.Errorf("granted a token of %q that Portal refuses", grant.Token.Client)
	}
	return grant
}

func (w *world) wantRegistered(want int) {
	w.t.Helper()
	if n := w.portal.Registered(); n != want {
		w.t.Errorf("Portal made %d clients, want %d", n, want)
	}
}

func keyed(key string) session.Registration { return session.Registration{Key: key} }

func TestRegistrationWithoutAKeyMakesAClientEachTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.Delay = time.Second
		var mu sync.Mutex
		clients := map[session.ClientID]bool{}
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				grant := w.register(w.Broker, session.Registration{})
				mu.Lock()
				defer mu.Unlock()
				clients[grant.Token.Client] = true
			})
		}
		group.Wait()
		w.wantRegistered(20)
		if len(clients) != 20 {
			t.Errorf("%d different clients, want 20", len(clients))
		}
	})
}

func TestTokenThatCameWithTheClientIsKept(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"without a key": "", "with a key": "key"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.portal.Delay = 3 * time.Second
				sent := time.Now().UTC()
				made := w.register(w.Broker, session.Registration{AccountAbstracted: true, Key: key})
				if made.Source != session.SourceMint || !made.At.Equal(sent.Add(3*time.Second)) || made.Shared != "" {
					t.Errorf("registered as %+v", made)
				}
				if !made.Token.MintedAt.Equal(sent) || !made.Token.ActiveAt.Equal(sent) || !made.Token.AccountAbstracted {
					t.Errorf("token %+v, want one of an abstracted account, dated %s", made.Token, sent)
				}
				grant, err := w.Grant(t.Context(), session.Ask{Client: made.Token.Client})
				if err != nil || grant.Source != session.SourceCache {
					t.Errorf("granted from %q, %v", grant.Source, err)
				}
				if diff := cmp.Diff(made.Token, grant.Token); diff != "" {
					t.Errorf("granted (-registered +granted):\n%s", diff)
				}
				w.wantMints()
			})
		})
	}
}

func TestRegistrationsWithOneKeyMakeOneClient(t *testing.T) {
	t.Parallel()
	for name, replicas := range map[string]int{"at one replica": 1, "across the fleet": 5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.portal.Delay = 2 * time.Second
				all := make([]session.Grant, 100)
				var group sync.WaitGroup
				for replica := range replicas {
					b := w.replica()
					for i := replica; i < len(all); i += replicas {
						group.Go(func() { all[i] = w.register(b, keyed("key")) })
					}
				}
				group.Wait()
				// And later, at another one.
				time.Sleep(hour)
				last := w.register(w.replica(), keyed("key"))
				led := 0
				for _, grant := range all {
					if grant.Token.ID != all[0].Token.ID || grant.Token.Client != all[0].Token.Client {
						t.Fatalf("one got a token of %s, another one of %s", grant.Token.Client, all[0].Token.Client)
					}
					if grant.Shared == "" {
						led++
					}
				}
				if last.Token.Client != all[0].Token.Client || last.Source != session.SourceCache || last.Shared != "" {
					t.Errorf("repeated: a token of %s from %s, want one of %s from cache", last.Token.Client, last.Source, all[0].Token.Client)
				}
				if led != replicas {
					t.Errorf("%d callers led, want one a replica", led)
				}
				w.wantRegistered(1)
				w.wantMints()
			})
		})
	}
}

func TestDifferentKeysMakeDifferentClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		one, two := w.register(w.Broker, keyed("one")), w.register(w.Broker, keyed("two"))
		if one.Token.Client == two.Token.Client {
			t.Errorf("both are %s", one.Token.Client)
		}
		w.wantRegistered(2)
	})
}

func TestKeyUsedForAnotherAskIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.Delay = time.Second
		other := session.Registration{Key: "key", AccountAbstracted: true}
		refused := func(when string) {
			_, err := w.Register(t.Context(), other)
			if !errors.Is(err, session.ErrInvalidRequest) || errors.Is(err, session.ErrStoreUnavailable) {
				t.Errorf("%s: %v", when, err)
			}
		}
		var group sync.WaitGroup
		group.Go(func() { w.register(w.Broker, keyed("key")) })
		synctest.Wait()
		refused("while the first is under way")
		group.Wait()
		refused("after it")
		w.wantRegistered(1)
	})
}

func TestFailedRegistrationGivesItsKeyBack(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]error{
		"unavailable": session.ErrPortalUnavailable, "rate limited": session.ErrPortalRateLimited, "timeout": session.ErrPortalTimeout,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.portal.Fail(fault)
				if _, err := w.Register(t.Context(), keyed("key")); !errors.Is(err, fault) {
					t.Errorf("register: %v, want %v", err, fault)
				}
				w.portal.Fail(nil)
				began := time.Now()
				first := w.register(w.replica(), keyed("key"))
				if took := time.Since(began); took != 0 {
					t.Errorf("the key was busy for %s", took)
				}
				if again := w.register(w.Broker, keyed("key")); again.Token.ID != first.Token.ID {
					t.Error("the repeat got another token")
				}
				w.wantRegistered(1)
			})
		})
	}
}

func TestHangingRegistrationCostsTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, onRegister(hang))
		for _, key := range []string{"", "key"} {
			began := time.Now()
			_, err := w.Register(t.Context(), keyed(key))
			if took := time.Since(began); !errors.Is(err, session.ErrPortalTimeout) || took != deadline {
				t.Errorf("with key %q: %v after %s", key, err, took)
			}
		}
	})
}

func TestRegistrationDoesNotWaitForeverForABusyKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		// Whoever claimed it died.
		if _, err := w.store.Claim(t.Context(), session.Claim{Registration: keyed("key"), Owner: "dead"}); err != nil {
			t.Fatalf("claim: %v", err)
		}
		began := time.Now()
		_, err := w.Register(t.Context(), keyed("key"))
		if took := time.Since(began); !errors.Is(err, session.ErrRegistrationBusy) || took != deadline {
			t.Errorf("register: %v after %s", err, took)
		}
		w.wantRegistered(0)
	})
}

func TestWithTheStoreDown(t *testing.T) {
	t.Parallel()
	t.Run("a key can't be kept, so Portal is not asked", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.store.Break(sessiontest.ErrStoreDown)
			_, err := w.Register(t.Context(), keyed("key"))
			if !errors.Is(err, session.ErrStoreUnavailable) || session.RetryAfter(err) <= 0 {
				t.Errorf("register: %v, retry after %s", err, session.RetryAfter(err))
			}
			w.wantRegistered(0)
		})
	})
	t.Run("a client is registered without a key", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.store.Break(sessiontest.ErrStoreDown)
			w.register(w.Broker, session.Registration{})
			w.wantRegistered(1)
		})
	})
}

func TestCallerWhoLeavesDoesNotCancelTheRegistration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.Delay = 3 * time.Second
		leaving, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := w.Register(leaving, keyed("key")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("register: %v", err)
		}
		if again := w.register(w.Broker, keyed("key")); again.Shared == "" {
			t.Error("the repeat did not join what was under way")
		}
		w.register(w.replica(), keyed("key"))
		w.wantRegistered(1)
	})
}

func TestRepeatAfterTheTokenEndedMintsForTheSameClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		made := w.register(w.Broker, keyed("key"))
		time.Sleep(day - 30*time.Second)
		again := w.register(w.Broker, keyed("key"))
		if again.Token.Client != made.Token.Client || again.Token.ID == made.Token.ID || again.Source != session.SourceMint {
			t.Errorf("repeated: %s of %s from %s; the first was %s of %s",
				again.Token.ID, again.Token.Client, again.Source, made.Token.ID, made.Token.Client)
		}
		w.wantRegistered(1)
		w.wantMints(session.IdleExpired)
	})
}

func TestCrashInARegistrationIsAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, onRegister(func(context.Context) error { panic("do not log me") }))
		for _, key := range []string{"", "key"} {
			if grant, err := w.Register(t.Context(), keyed(key)); err == nil || !grant.Token.IsZero() {
				t.Errorf("with key %q: granted %s, %v", key, grant.Token.ID, err)
			}
		}
		if strings.Contains(w.log.String(), "do not log me") {
			t.Errorf("logged:\n%s", w.log.String())
		}
	})
}

// unsettled is a registry that can't write down what became of a claim, and notes how long it should have.
type unsettled struct {
	*sessiontest.Store
	keep *time.Duration
}

func (s unsettled) Settle(_ context.Context, _ session.Claim, _ session.ClientID, keep time.Duration) error {
	*s.keep = keep
	return sessiontest.ErrStoreDown
}

func TestClientThatCantBeRememberedIsGrantedAndLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var keep time.Duration
		w := newWorld(t, func(p *session.Parts) { p.Registry = unsettled{p.Store.(*sessiontest.Store), &keep} })
		w.register(w.Broker, keyed("key"))
		if !strings.Contains(w.log.String(), "level=ERROR msg=\"registration not remembered") {
			t.Errorf("logged:\n%s", w.log.String())
		}
		if keep != day {
			t.Errorf("the client of a key is kept for %s, want 24h", keep)
		}
	})
}
