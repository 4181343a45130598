package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// slow is a store whose slides take a while, and are counted.
type slow struct {
	session.Store
	wait time.Duration

	mu     sync.Mutex
	slides []session.Move
}

func (s *slow) Slide(ctx context.Context, move session.Move) (session.Match, error) {
	s.mu.Lock()
	s.slides = append(s.slides, move)
	s.mu.Unlock()
	time.Sleep(s.wait)
	return s.Store.Slide(ctx, move)
}

// sliding has the world's store take so long for each slide.
func sliding(wait time.Duration, of **slow) func(*session.Parts) {
	return func(p *session.Parts) {
		*of = &slow{Store: p.Store, wait: wait}
		p.Store = *of
	}
}

func TestUseSlidesTheTokenToWhenTheRequestLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := w.aged(hour)
		sent := w.Sent()
		time.Sleep(20 * time.Second) // Portal takes its time
		w.Used(t.Context(), token, sent)
		if got := w.settled().stored().ActiveAt; !got.Equal(sent) {
			t.Errorf("active at %s, want %s, when the request left", got, sent)
		}
	})
}

func TestUseIsWrittenOnceAMinute(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		later time.Duration
		want  int
	}{
		"a moment before a minute is over": {time.Minute - time.Millisecond, 0},
		"when it is over":                  {time.Minute, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var store *slow
				w := newWorld(t, sliding(0, &store))
				w.Used(t.Context(), w.aged(c.later), w.Sent())
				w.settled()
				if got := len(store.slides); got != c.want {
					t.Errorf("%d writes, want %d", got, c.want)
				}
			})
		})
	}
}

// TestUseNeverWaitsForTheStore has 1,000 requests come while one write is under way, for longer than a minute: there is one more.
func TestUseNeverWaitsForTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var store *slow
		w := newWorld(t, sliding(2*time.Minute, &store))
		token := w.aged(hour)
		began := time.Now()
		var last time.Time
		for range 1000 {
			last = w.Sent()
			w.Used(t.Context(), token, last)
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began); took != 100*time.Second {
			t.Errorf("1000 notes took %s, want no time but what was waited between them", took)
		}
		time.Sleep(10 * time.Minute)
		if got := w.settled().stored().ActiveAt; !got.Equal(last) {
			t.Errorf("active at %s, want %s, as of the last", got, last)
		}
		if got := len(store.slides); got != 2 {
			t.Errorf("%d writes, want 2", got)
		}
	})
}

func TestUseOfATokenThatWasReplacedChangesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		old := w.aged(hour)
		other := w.fetch(session.Need{Rejected: old.ID}).Token
		time.Sleep(hour)
		w.Used(t.Context(), old, w.Sent())
		if got := w.settled().stored(); got.ID != other.ID || !got.ActiveAt.Equal(other.ActiveAt) {
			t.Errorf("kept is %s, active at %s, want %s as it was", got.ID, got.ActiveAt, other.ID)
		}
	})
}

func TestUseThatCouldNotBeWrittenIsWrittenWithTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := w.aged(hour)
		w.store.Break(sessiontest.ErrStoreDown)
		w.Used(t.Context(), token, w.Sent())
		w.settled().store.Break(nil)
		time.Sleep(time.Second)
		sent := w.Sent()
		w.Used(t.Context(), token, sent)
		if got := w.settled().stored().ActiveAt; !got.Equal(sent) {
			t.Errorf("active at %s, want %s", got, sent)
		}
	})
}

func TestUseIsWrittenBeforeTheBrokerEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var store *slow
		w := newWorld(t, sliding(time.Minute, &store))
		token := w.aged(hour)
		sent := w.Sent()
		w.Used(t.Context(), token, sent)
		w.Close(t.Context())
		if got := w.stored().ActiveAt; !got.Equal(sent) {
			t.Errorf("active at %s, want %s", got, sent)
		}
		w.Used(t.Context(), token, sent.Add(hour))
		if got := len(store.slides); got != 1 {
			t.Errorf("%d writes, want none after the end", got-1)
		}
	})
}

func TestRefusalDropsExactlyThatToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		old := w.aged(hour)
		other := w.fetch(session.Need{Rejected: old.ID}).Token
		w.Refused(t.Context(), old)
		if got := w.stored(); got.ID != other.ID {
			t.Errorf("kept is %s, want %s, which nobody refused", got.ID, other.ID)
		}
		w.Refused(t.Context(), other)
		if got := w.stored(); !got.IsZero() {
			t.Errorf("kept is %s still", got.ID)
		}
	})
}

func TestRefusedTokenIsReplacedByOneMintForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dead := w.aged(hour)
		ids := make([]session.TokenID, 100)
		var group sync.WaitGroup
		for i := range ids {
			group.Go(func() {
				grant, err := w.Replace(t.Context(), dead)
				if err != nil {
					t.Error(err)
				}
				ids[i] = grant.Token.ID
			})
		}
		group.Wait()
		for _, id := range ids {
			if id != ids[0] || id == dead.ID {
				t.Fatalf("got %s and %s in place of %s", ids[0], id, dead.ID)
			}
		}
		w.wantMints(session.Absent, session.Rejected)
	})
}

// TestTokensThatAreAllRefusedAreNotAllBelievedDead has Portal answer whatever token by a 401: for another reason, then.
func TestTokensThatAreAllRefusedAreNotAllBelievedDead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := w.aged(hour)
		replaced := func() (n int) {
			for range 20 {
				grant, err := w.Replace(t.Context(), token)
				if errors.Is(err, session.ErrTokenRejected) {
					return n
				}
				if err != nil {
					t.Fatal(err)
				}
				n, token = n+1, grant.Token
			}
			return n
		}
		if got := replaced(); got != 5 {
			t.Errorf("%d were believed, want 5", got)
		}
		w.Refused(t.Context(), token)
		if got := w.stored().ID; got != token.ID {
			t.Errorf("kept is %s, want %s", got, token.ID)
		}
		time.Sleep(time.Minute)
		if got := replaced(); got != 5 {
			t.Errorf("a minute later %d were believed, want 5", got)
		}
	})
}

// owners is an Index of what it is made of.
type owners map[session.TokenID]session.ClientID

func (o owners) Client(_ context.Context, id session.TokenID) (session.ClientID, error) {
	return o[id], nil
}

type brokenIndex struct{}

func (brokenIndex) Client(context.Context, session.TokenID) (session.ClientID, error) {
	return "", sessiontest.ErrStoreDown
}

func TestOnlyATokenThatIsKeptIsFound(t *testing.T) {
	t.Parallel()
	index := owners{}
	indexed := func(p *session.Parts) { p.Index = index }
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, indexed)
		old := w.aged(hour)
		index[old.ID] = alice
		if got, err := w.Find(t.Context(), old.Secret); err != nil || got.ID != old.ID || got.Client != alice {
			t.Errorf("the token that is kept: %v, %v", got.ID, err)
		}
		time.Sleep(2 * day)
		if got, err := w.Find(t.Context(), old.Secret); err != nil || got.ID != old.ID {
			t.Errorf("a token that may have ended, which only Portal knows: %v, %v", got.ID, err)
		}
		other := w.fetch(session.Need{Rejected: old.ID}).Token
		index[other.ID] = bob // somebody wrote what is not so
		for name, secret := range map[string]session.Secret{
			"one that another took the place of": old.Secret, "one that nobody made": session.NewSecret("made up"), "another client's": other.Secret,
		} {
			if got, err := w.Find(t.Context(), secret); !errors.Is(err, session.ErrTokenUnknown) || !got.IsZero() {
				t.Errorf("%s: %v, %v; want ErrTokenUnknown", name, got.ID, err)
			}
		}
	})
}

func TestWithoutAnIndexNothingIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if _, err := w.Find(t.Context(), w.aged(hour).Secret); !errors.Is(err, session.ErrTokenUnknown) {
			t.Errorf("without an index: %v", err)
		}
		broken := newWorld(t, func(p *session.Parts) { p.Index = brokenIndex{} })
		if _, err := broken.Find(t.Context(), session.NewSecret("any")); !errors.Is(err, session.ErrStoreUnavailable) {
			t.Errorf("with one that fails: %v", err)
		}
	})
}
