package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

func newPortal(delay time.Duration) *sessiontest.Portal {
	life := session.Lifetime{IdleTTL: 24 * time.Hour, RefreshWindow: 168 * time.Hour}
	return &sessiontest.Portal{Lifetime: life, Now: time.Now, Delay: delay}
}

// operations :: operation -> one request of it
var operations = map[string]func(context.Context, session.Portal, session.Token) error{
	"mint": func(ctx context.Context, portal session.Portal, _ session.Token) error {
		_, err := portal.Mint(ctx, client, session.Absent)
		return err
	},
	"register": func(ctx context.Context, portal session.Portal, _ session.Token) error {
		_, err := portal.Register(ctx, session.Registration{})
		return err
	},
	"probe": func(ctx context.Context, portal session.Portal, token session.Token) error {
		return portal.Probe(ctx, token)
	},
}

func TestAttemptsAreCountedAndTimed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err     error
		outcome string
	}{
		"no error is ok":                         {nil, "ok"},
		"a token refused is rejected":            {session.ErrTokenRejected, "rejected"},
		"a key refused is unauthorized":          {session.ErrPortalUnauthorized, "unauthorized"},
		"a client unknown is not_found":          {session.ErrClientNotFound, "not_found"},
		"a budget spent is rate_limited":         {session.ErrPortalRateLimited, "rate_limited"},
		"a wait carried along changes nothing":   {&session.RetryError{After: time.Second, Err: session.ErrPortalRateLimited}, "rate_limited"},
		"a failure is unavailable":               {session.ErrPortalUnavailable, "unavailable"},
		"no answer in time is timeout":           {session.ErrPortalTimeout, "timeout"},
		"an answer of no use is bad_response":    {session.ErrPortalBadResponse, "bad_response"},
		"an error with more around it is itself": {fmt.Errorf("mint: %w", session.ErrPortalBadResponse), "bad_response"},
		"a caller that left is an error":         {context.Canceled, "error"},
		"any other error is an error":            {errors.New("no route"), "error"},
	} {
		for operation, request := range operations {
			t.Run(name+", "+operation, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					m, fake := metrics.New(parts()), newPortal(1500*time.Millisecond)
					portal := m.PortalAttempts(fake)
					token, err := fake.Mint(t.Context(), client, session.Absent)
					if err != nil {
						t.Fatal(err)
					}
					fake.Fail(c.err)
					act := func() {
						if err := request(t.Context(), portal, token); !errors.Is(err, c.err) {
							t.Errorf("it returns %v, want %v", err, c.err)
						}
					}
					wantChanges(t, m, act, map[string]float64{
						`portal_requests_total{operation="` + operation + `",outcome="` + c.outcome + `"}`: 1,
						`portal_request_duration_seconds_count{operation="` + operation + `"}`:             1,
						`portal_request_duration_seconds_sum{operation="` + operation + `"}`:               1.5,
					})
				})
			})
		}
	}
}

func TestKeyChecksAreCountedAndTimed(t *testing.T) {
	t.Parallel()
	for outcome, want := range map[string]error{
		"ok": nil, "unauthorized": session.ErrPortalUnauthorized, "rate_limited": session.ErrPortalRateLimited,
		"unavailable": session.ErrPortalUnavailable, "timeout": session.ErrPortalTimeout,
		"bad_response": session.ErrPortalBadResponse, "error": context.Canceled,
	} {
		t.Run(outcome, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := metrics.New(parts())
				check := m.KeyChecks(func(context.Context) error {
					time.Sleep(1500 * time.Millisecond)
					return want
				})
				act := func() {
					if err := check(t.Context()); !errors.Is(err, want) {
						t.Errorf("it returns %v, want %v", err, want)
					}
				}
				wantChanges(t, m, act, map[string]float64{
					`portal_requests_total{operation="key",outcome="` + outcome + `"}`: 1,
					`portal_request_duration_seconds_count{operation="key"}`:           1,
					`portal_request_duration_seconds_sum{operation="key"}`:             1.5,
				})
			})
		})
	}
}

func TestMintsAreCountedByReason(t *testing.T) {
	t.Parallel()
	for _, reason := range session.Reasons() {
		t.Run(string(reason), func(t *testing.T) {
			t.Parallel()
			m := metrics.New(parts())
			portal := m.Mints(newPortal(0))
			mint := func() {
				if _, err := portal.Mint(t.Context(), client, reason); err != nil {
					t.Error(err)
				}
			}
			wantChanges(t, m, mint, map[string]float64{`mints_total{reason="` + string(reason) + `"}`: 1})
		})
	}
}

func TestOnlyMintsThatSucceedAreCounted(t *testing.T) {
	t.Parallel()
	m, fake := metrics.New(parts()), newPortal(0)
	token, err := fake.Mint(t.Context(), client, session.Absent)
	if err != nil {
		t.Fatal(err)
	}
	portal := m.Mints(fake)
	act := func() {
		for _, operation := range []string{"register", "probe"} {
			if err := operations[operation](t.Context(), portal, token); err != nil {
				t.Errorf("%s: %v", operation, err)
			}
		}
		fake.Fail(session.ErrPortalTimeout)
		if err := operations["mint"](t.Context(), portal, token); !errors.Is(err, session.ErrPortalTimeout) {
			t.Errorf("mint returns %v, want %v", err, session.ErrPortalTimeout)
		}
	}
	wantChanges(t, m, act, map[string]float64{})
}

func TestWrappedPortalAnswersAsPortalDoes(t *testing.T) {
	t.Parallel()
	m, fake := metrics.New(parts()), newPortal(0)
	portal := m.Mints(m.PortalAttempts(fake))
	token, err := portal.Mint(t.Context(), client, session.WindowClosed)
	if err != nil || token.Client != client || !fake.Accepts(token) {
		t.Errorf("Mint returns %+v and %v, want a token of the client", token, err)
	}
	if err := portal.Probe(t.Context(), token); err != nil {
		t.Errorf("Probe returns %v, want none: the token is alive", err)
	}
	registered, err := portal.Register(t.Context(), session.Registration{AccountAbstracted: true})
	if err != nil || !registered.AccountAbstracted || !fake.Accepts(registered) {
		t.Errorf("Register returns %+v and %v, want a token of a new client", registered, err)
	}
	if diff := cmp.Diff([]session.Reason{session.WindowClosed}, fake.Mints()); diff != "" {
		t.Errorf("reasons that Portal was told (-want +got):\n%s", diff)
	}
}
