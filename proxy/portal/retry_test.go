package portal_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// scripted is a session.Portal that answers as it is told, after a while if it is told so, and notes who came when.
type scripted struct {
	// fails are the errors of the requests to come; once through, all succeed.
	fails []error
	takes time.Duration

	mu   sync.Mutex
	came []departure
}

// departure is one request that reached the next Portal.
type departure struct {
	operation portaltest.Operation
	asked     any
	at        time.Time
}

// wish is what a mint asks for.
type wish struct {
	client session.ClientID
	reason session.Reason
}

func (s *scripted) come(operation portaltest.Operation, asked any) error {
	s.mu.Lock()
	n := len(s.came)
	s.came = append(s.came, departure{operation, asked, time.Now()})
	s.mu.Unlock()
	time.Sleep(s.takes)
	if n < len(s.fails) {
		return s.fails[n]
	}
	return nil
}

func (s *scripted) Mint(_ context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	if err := s.come(portaltest.Mint, wish{client, reason}); err != nil {
		return session.Token{}, err
	}
	return held, nil
}

func (s *scripted) Register(_ context.Context, registration session.Registration) (session.Token, error) {
	if err := s.come(portaltest.Register, registration); err != nil {
		return session.Token{}, err
	}
	return held, nil
}

func (s *scripted) Probe(_ context.Context, token session.Token) error {
	return s.come(portaltest.Probe, token.Secret.Reveal())
}

func (s *scripted) departures() []departure {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.came)
}

// always returns more of err than anybody should ask for.
func always(err error) []error { return slices.Repeat([]error{err}, 10) }

// Nobody waits for it, and while Portal fails, it can as well be left.
func TestMintAheadIsNotRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := &scripted{fails: always(session.ErrPortalUnavailable)}
		if _, err := portal.NewRetry(next).Mint(t.Context(), alice, session.Ahead); !errors.Is(err, session.ErrPortalUnavailable) {
			t.Errorf("Mint: %v, want ErrPortalUnavailable", err)
		}
		if n := len(next.departures()); n != 1 {
			t.Errorf("%d attempts, want 1", n)
		}
	})
}

func TestOnlyWhatMayPassIsRepeatedAndOnlyOnce(t *testing.T) {
	t.Parallel()
	wrapped := func(err error) error { return fmt.Errorf("ask: %w (status 418)", err) }
	waiting := func(err error) error { return &session.RetryError{After: time.Second, Err: err} }
	for name, tc := range map[string]struct {
		err      error
		attempts int
	}{
		"success":                           {nil, 1},
		"unavailable":                       {session.ErrPortalUnavailable, 2},
		"unavailable, and why":              {wrapped(session.ErrPortalUnavailable), 2},
		"unavailable, and for how long":     {waiting(session.ErrPortalUnavailable), 1},
		"unavailable, for how long and why": {wrapped(waiting(wrapped(session.ErrPortalUnavailable))), 1},
		"too late":                          {wrapped(session.ErrPortalTimeout), 1},
		"over the limit":                    {wrapped(session.ErrPortalRateLimited), 1},
		"over the limit for a while":        {waiting(session.ErrPortalRateLimited), 1},
		"a refused key":                     {wrapped(session.ErrPortalUnauthorized), 1},
		"an unknown client":                 {wrapped(session.ErrClientNotFound), 1},
		"a dead token":                      {wrapped(session.ErrTokenRejected), 1},
		"an answer of no use":               {wrapped(session.ErrPortalBadResponse), 1},
		"a caller who left":                 {context.Canceled, 1},
		"something unheard of":              {errors.New("unheard of"), 1},
	} {
		for operation, ask := range operations {
			t.Run(name+" to "+string(operation), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					want := tc.attempts
					if operation == portaltest.Register {
						want = 1
					}
					next := &scripted{fails: always(tc.err)}
					_, err := ask(t.Context(), seasoned(next), held)
					if err != tc.err { //nolint:errorlint // it must be untouched
						t.Errorf("error %v, want %v", err, tc.err)
					}
					if n := len(next.departures()); n != want {
						t.Errorf("asked %d times, want %d", n, want)
					}
				})
			})
		}
	}
}

func TestSecondAttemptsAnswerCounts(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]error{
		"a success": nil, "a dead token": session.ErrTokenRejected, "a refused key": session.ErrPortalUnauthorized,
		"trouble of another kind": session.ErrPortalTimeout,
	} {
		for _, operation := range []portaltest.Operation{portaltest.Mint, portaltest.Probe} {
			t.Run(name+" to "+string(operation), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					next := &scripted{fails: []error{session.ErrPortalUnavailable, second}}
					token, err := operations[operation](t.Context(), seasoned(next), held)
					wantError(t, err, second)
					if second == nil && token.Client != alice {
						t.Errorf("token %+v", token)
					}
				})
			})
		}
	}
}

func TestRetriesDoNotComeTogether(t *testing.T) {
	t.Parallel()
	for _, operation := range []portaltest.Operation{portaltest.Mint, portaltest.Probe} {
		t.Run(string(operation), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var delays []time.Duration
				for range 300 {
					next := &scripted{fails: always(session.ErrPortalUnavailable), takes: time.Second}
					_, err := operations[operation](t.Context(), seasoned(next), held)
					wantError(t, err, session.ErrPortalUnavailable)
					came := next.departures()
					if len(came) != 2 {
						t.Fatalf("asked %d times", len(came))
					}
					delays = append(delays, came[1].at.Sub(came[0].at)-next.takes)
				}
				least, most := slices.Min(delays), slices.Max(delays)
				if least < 50*time.Millisecond || most > 250*time.Millisecond {
					t.Errorf("delays of %s to %s, want 50ms to 250ms", least, most)
				}
				// That 300 draws leave out a quarter of the range has a chance of one to 10^37.
				if least > 100*time.Millisecond || most < 200*time.Millisecond {
					t.Errorf("delays of %s to %s don't spread", least, most)
				}
			})
		})
	}
}

func TestCallerWhoLeavesBeforeTheRetryEndsIt(t *testing.T) {
	t.Parallel()
	for _, operation := range []portaltest.Operation{portaltest.Mint, portaltest.Probe} {
		t.Run(string(operation), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				next := &scripted{fails: always(session.ErrPortalUnavailable)}
				ctx, cancel := context.WithCancel(t.Context())
				began := time.Now()
				go func() {
					time.Sleep(40 * time.Millisecond)
					cancel()
				}()
				_, err := operations[operation](ctx, seasoned(next), held)
				wantError(t, err, context.Canceled)
				if took := time.Since(began); took != 40*time.Millisecond {
					t.Errorf("took %s", took)
				}
				time.Sleep(time.Minute)
				if n := len(next.departures()); n != 1 {
					t.Errorf("asked %d times", n)
				}
			})
		})
	}
}

func TestDeadlineBeforeTheRetryIsATimeout(t *testing.T) {
	t.Parallel()
	for _, operation := range []portaltest.Operation{portaltest.Mint, portaltest.Probe} {
		t.Run(string(operation), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				next := &scripted{fails: always(session.ErrPortalUnavailable)}
				ctx, cancel := context.WithTimeout(t.Context(), 40*time.Millisecond)
				defer cancel()
				began := time.Now()
				_, err := operations[operation](ctx, seasoned(next), held)
				wantError(t, err, session.ErrPortalTimeout)
				if took := time.Since(began); took != 40*time.Millisecond {
					t.Errorf("took %s", took)
				}
				if n := len(next.departures()); n != 1 {
					t.Errorf("asked %d times", n)
				}
			})
		})
	}
}

// A mint that was paid for is not thrown away, nor what Portal said about a token or a key.
func TestAnswerThatComesWithTheEndOfTheCallersTimeIsKept(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]error{
		"a success": nil, "a dead token": session.ErrTokenRejected, "a refused key": session.ErrPortalUnauthorized,
		"a limit": session.ErrPortalRateLimited,
	} {
		for operation, ask := range operations {
			t.Run(name+" to "+string(operation), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					late, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					left, leave := context.WithCancel(t.Context())
					context.AfterFunc(late, leave)
					for _, ctx := range []context.Context{late, left} {
						token, err := ask(ctx, seasoned(&scripted{fails: []error{want}, takes: 2 * time.Second}), held)
						wantError(t, err, want)
						if err == nil && token.Client != alice {
							t.Errorf("token %+v", token)
						}
					}
				})
			})
		}
	}
}

func TestRequestsThatArriveUnderEveryFault(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault   portaltest.Fault
		repeats bool
	}{
		"none":                        {portaltest.Fault{}, false},
		"500":                         {portaltest.Fault{Kind: portaltest.Status, Status: 500}, true},
		"502":                         {portaltest.Fault{Kind: portaltest.Status, Status: 502}, true},
		"503":                         {portaltest.Fault{Kind: portaltest.Status, Status: 503}, true},
		"503 that is over in a while": {portaltest.Fault{Kind: portaltest.Status, Status: 503, RetryAfter: "1"}, false},
		"504":                         {portaltest.Fault{Kind: portaltest.Status, Status: 504}, true},
		"400":                         {portaltest.Fault{Kind: portaltest.Status, Status: 400}, false},
		"401":                         {portaltest.Fault{Kind: portaltest.Status, Status: 401}, false},
		"403":                         {portaltest.Fault{Kind: portaltest.Status, Status: 403}, false},
		"404":                         {portaltest.Fault{Kind: portaltest.Status, Status: 404}, false},
		"429":                         {portaltest.Fault{Kind: portaltest.Status, Status: 429}, false},
		"429 that is over in a while": {portaltest.Fault{Kind: portaltest.Status, Status: 429, RetryAfter: "1"}, false},
		"reset":                       {portaltest.Fault{Kind: portaltest.Reset}, true},
		"lost":                        {portaltest.Fault{Kind: portaltest.Lost}, true},
		"hang":                        {portaltest.Fault{Kind: portaltest.Hang}, false},
		"redirect":                    {portaltest.Fault{Kind: portaltest.Redirect}, false},
		"redirect to chaos":           {portaltest.Fault{Kind: portaltest.Redirect, Location: "http://[::1"}, false},
		"garbage":                     {portaltest.Fault{Kind: portaltest.Garbage}, false},
		"huge":                        {portaltest.Fault{Kind: portaltest.Huge}, false},
		"wrong id":                    {portaltest.Fault{Kind: portaltest.WrongID}, false},
		"no token":                    {portaltest.Fault{Kind: portaltest.NoToken}, false},
	} {
		for operation, ask := range operations {
			t.Run(name+" to "+string(operation), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				c := w.Client
				if tc.fault.Kind == portaltest.Hang {
					c = newClient(t, w.url, within(500*time.Millisecond))
				}
				w.sim.Inject(operation, tc.fault)
				_, _ = ask(t.Context(), seasoned(c), w.token)
				want := 1
				if tc.repeats && operation != portaltest.Register {
					want = 2
				}
				w.wantArrivals(t, operation, want)
				w.wantArrivals(t, portaltest.All, want)
			})
		}
	}
}

func TestTroubleOfAMomentIsNotNoticed(t *testing.T) {
	t.Parallel()
	for _, kind := range []portaltest.FaultKind{portaltest.Status, portaltest.Reset, portaltest.Lost} {
		for _, operation := range []portaltest.Operation{portaltest.Mint, portaltest.Probe} {
			t.Run(fmt.Sprintf("%s to %s", kind, operation), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.sim.Inject(operation, portaltest.Fault{Kind: kind, Status: 503, Times: 1})
				token, err := operations[operation](t.Context(), seasoned(w), w.token)
				wantError(t, err, nil)
				if !w.sim.Accepts(token.Secret.Reveal()) {
					t.Error("Portal doesn't accept the token")
				}
			})
		}
	}
}

func TestWrappersPassOnWhatTheyAreAsked(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(session.Portal) session.Portal{
		"a retry": func(next session.Portal) session.Portal { return seasoned(next) },
		"a budget": func(next session.Portal) session.Portal {
			return newBudget(next, cache.Limit{Requests: 9, Per: time.Hour})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next := &scripted{}
			wrapped := wrap(next)
			minted, err := wrapped.Mint(t.Context(), alice, session.IdleExpired)
			if err != nil || minted != held {
				t.Errorf("minted %+v, %v", minted, err)
			}
			registered, err := wrapped.Register(t.Context(), session.Registration{AccountAbstracted: true, Key: "once"})
			if err != nil || registered != held {
				t.Errorf("registered %+v, %v", registered, err)
			}
			if err := wrapped.Probe(t.Context(), held); err != nil {
				t.Error(err)
			}
			var got []any
			for _, d := range next.departures() {
				got = append(got, d.operation, d.asked)
			}
			want := []any{
				portaltest.Mint, wish{alice, session.IdleExpired},
				portaltest.Register, session.Registration{AccountAbstracted: true, Key: "once"},
				portaltest.Probe, "held-token",
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(wish{})); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}
