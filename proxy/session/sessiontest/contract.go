package sessiontest

import (
	"crypto/rand"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// NewToken returns a token of client with a random secret, minted and active at now.
func NewToken(client session.ClientID, now time.Time) session.Token {
	now = now.UTC().Truncate(time.Millisecond)
	secret := session.NewSecret(rand.Text())
	return session.Token{
		Client: client, ID: session.IdentifyToken(secret), Secret: secret, AccountAbstracted: true, MintedAt: now, ActiveAt: now,
	}
}

// TestStore runs the contract of [session.Store] against stores that open returns, each empty or shared: the contract
// uses clients of its own. The stores must keep tokens for at least an hour.
func TestStore(t *testing.T, open func(*testing.T) session.Store) {
	for name, test := range map[string]func(*testing.T, session.Store){
		"a client never seen is a miss, not an error":           missIsZero,
		"what is saved is loaded, whole":                        savedIsLoaded,
		"a token saved later takes the place of the one before": laterTakesPlace,
		"clients do not see each other's tokens":                clientsApart,
		"a slide moves the activity forward":                    slidesForward,
		"a slide never moves the activity back":                 neverBack,
		"a slide of another token changes nothing":              slideOther,
		"a slide without a token finds none":                    slideNone,
		"a slide of any token moves the one there":              slideAny,
		"forget drops the token named":                          forgetsNamed,
		"forget leaves another token":                           forgetOther,
		"forget of any token drops the one there":               forgetAny,
		"concurrent slides leave the latest":                    slidesRace,
		"a token forgotten does not come back by a slide":       noReturn,
		"a late commit is refused, and makes suspect":           lateRefused,
		"a commit that overlapped another is suspect":           overlapSuspect,
		"a commit on what its lease saw is not suspect":         inOrder,
		"a token minted without a lease is suspect over others": aloneSuspect,
		"a commit of the same token again changes nothing":      sameAgain,
		"what became known since stays known then":              knownStays,
		"only a slide that clears it ends a suspicion":          clearsSuspicion,
		"a slide puts a token in doubt, or ends that":           slidesDoubt,
		"a slide corrects dates that are ahead, if it is to":    correctsDates,
		"a commit keeps the doubt that its token is in":         commitsDoubt,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func newClient() session.ClientID { return session.ClientID("c" + rand.Text()[:24]) }

func saved(t *testing.T, store session.Store) session.Token {
	t.Helper()
	token := NewToken(newClient(), time.Now())
	commit(t, store, token, 0)
	return token
}

// commit commits the token and returns what is kept.
func commit(t *testing.T, store session.Store, token session.Token, seen uint64) session.Token {
	t.Helper()
	kept, err := store.Commit(t.Context(), token, seen)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return kept
}

func wantLoaded(t *testing.T, store session.Store, client session.ClientID, want session.Token) {
	t.Helper()
	got, err := store.Load(t.Context(), client)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("loaded token (-want +got):\n%s", diff)
	}
}

func wantMatch(t *testing.T, want session.Match) func(session.Match, error) {
	t.Helper()
	return func(got session.Match, err error) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("match = %v, %v; want %v", got, err, want)
		}
	}
}

func missIsZero(t *testing.T, store session.Store) {
	wantLoaded(t, store, newClient(), session.Token{})
}

func savedIsLoaded(t *testing.T, store session.Store) {
	token := saved(t, store)
	wantLoaded(t, store, token.Client, token)
	if got, _ := store.Load(t.Context(), token.Client); got.Secret.Reveal() != token.Secret.Reveal() {
		t.Error("the secret changed")
	}
}

func laterTakesPlace(t *testing.T, store session.Store) {
	token := fenced(newClient(), 1)
	commit(t, store, token, 0)
	later := NewToken(token.Client, time.Now().Add(time.Second))
	later.AccountAbstracted = false
	later.Fence = token.Fence + 1
	commit(t, store, later, token.Fence)
	wantLoaded(t, store, token.Client, later)
}

func clientsApart(t *testing.T, store session.Store) {
	one, two := saved(t, store), saved(t, store)
	wantLoaded(t, store, one.Client, one)
	wantLoaded(t, store, two.Client, two)
}

func slidesForward(t *testing.T, store session.Store) {
	token := saved(t, store)
	token.ActiveAt = token.ActiveAt.Add(time.Millisecond)
	wantMatch(t, session.MatchSame)(store.Slide(t.Context(), session.Move{Client: token.Client, ID: token.ID, At: token.ActiveAt}))
	wantLoaded(t, store, token.Client, token)
}

func neverBack(t *testing.T, store session.Store) {
	token := saved(t, store)
	wantMatch(t, session.MatchSame)(store.Slide(t.Context(), session.Move{Client: token.Client, ID: token.ID, At: token.ActiveAt.Add(-time.Millisecond)}))
	wantLoaded(t, store, token.Client, token)
}

func slideOther(t *testing.T, store session.Store) {
	token, other := saved(t, store), NewToken("c", time.Now())
	wantMatch(t, session.MatchOther)(store.Slide(t.Context(), session.Move{Client: token.Client, ID: other.ID, At: token.ActiveAt.Add(time.Minute)}))
	wantLoaded(t, store, token.Client, token)
}

func slideNone(t *testing.T, store session.Store) {
	token := NewToken(newClient(), time.Now())
	wantMatch(t, session.MatchNone)(store.Slide(t.Context(), session.Move{Client: token.Client, ID: token.ID, At: token.ActiveAt}))
	wantLoaded(t, store, token.Client, session.Token{})
}

func slideAny(t *testing.T, store session.Store) {
	token := saved(t, store)
	token.ActiveAt = token.ActiveAt.Add(time.Minute)
	wantMatch(t, session.MatchSame)(store.Slide(t.Context(), session.Move{Client: token.Client, ID: session.TokenID{}, At: token.ActiveAt}))
	wantLoaded(t, store, token.Client, token)
}

func forgetsNamed(t *testing.T, store session.Store) {
	token := saved(t, store)
	wantMatch(t, session.MatchSame)(store.Forget(t.Context(), token.Client, token.ID))
	wantLoaded(t, store, token.Client, session.Token{})
	wantMatch(t, session.MatchNone)(store.Forget(t.Context(), token.Client, token.ID))
}

func forgetOther(t *testing.T, store session.Store) {
	token, other := saved(t, store), NewToken("c", time.Now())
	wantMatch(t, session.MatchOther)(store.Forget(t.Context(), token.Client, other.ID))
	wantLoaded(t, store, token.Client, token)
}

func forgetAny(t *testing.T, store session.Store) {
	token := saved(t, store)
	wantMatch(t, session.MatchSame)(store.Forget(t.Context(), token.Client, session.TokenID{}))
	wantLoaded(t, store, token.Client, session.Token{})
}

func slidesRace(t *testing.T, store session.Store) {
	const racers = 20
	token := saved(t, store)
	var group sync.WaitGroup
	for i := range racers {
		group.Go(func() {
			at := token.ActiveAt.Add(time.Duration(i+1) * time.Millisecond)
			wantMatch(t, session.MatchSame)(slideInTime(t, store, session.Move{Client: token.Client, ID: token.ID, At: at}))
		})
	}
	group.Wait()
	token.ActiveAt = token.ActiveAt.Add(racers * time.Millisecond)
	wantLoaded(t, store, token.Client, token)
}

// slideInTime slides again where a busy machine was too slow for the store's time-out: so many at once may be. A slide that
// was done all the same is done once more by that, which changes nothing.
func slideInTime(t *testing.T, store session.Store, move session.Move) (match session.Match, err error) {
	t.Helper()
	for range 5 {
		match, err = store.Slide(t.Context(), move)
		if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
			return match, err
		}
	}
	return match, err
}

func noReturn(t *testing.T, store session.Store) {
	token := saved(t, store)
	wantMatch(t, session.MatchSame)(store.Forget(t.Context(), token.Client, token.ID))
	wantMatch(t, session.MatchNone)(store.Slide(t.Context(), session.Move{Client: token.Client, ID: token.ID, At: token.ActiveAt.Add(time.Second)}))
	wantLoaded(t, store, token.Client, session.Token{})
}
