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
	failed := func(kind session.PortalFailure, err error) error {
		return &session.PortalError{Failure: kind, Err: err}
	}
	for name, c := range map[string]struct {
		err           error
		outcome, kind string
	}{
		"no error is ok":                         {nil, "ok", ""},
		"a token refused is rejected":            {failed("rejected", session.ErrTokenRejected), "rejected", "rejected"},
		"a key refused is unauthorized":          {failed("unauthorized", session.ErrPortalUnauthorized), "unauthorized", "unauthorized"},
		"a client unknown is not_found":          {failed("not_found", session.ErrClientNotFound), "not_found", "not_found"},
		"a budget spent is rate_limited":         {failed("rate_limited", session.ErrPortalRateLimited), "rate_limited", "rate_limited"},
		"a wait carried along changes nothing":   {&session.RetryError{After: time.Second, Err: failed("server_error", session.ErrPortalUnavailable)}, "unavailable", "server_error"},
		"a failure that doesn't say more":        {session.ErrPortalUnavailable, "unavailable", "other"},
		"a failure of a kind nobody declared":    {failed("tired", session.ErrPortalUnavailable), "unavailable", "other"},
		"no answer in time is timeout":           {failed("timeout", session.ErrPortalTimeout), "timeout", "timeout"},
		"an answer of no use is bad_response":    {failed("not_json", session.ErrPortalBadResponse), "bad_response", "not_json"},
		"an error with more around it is itself": {fmt.Errorf("mint: %w", failed("no_token", session.ErrPortalBadResponse)), "bad_response", "no_token"},
		"a caller that left is no failure":       {context.Canceled, "error", ""},
		"any other error is an error":            {errors.New("no route"), "error", "other"},
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
					want := map[string]float64{
						`portal_requests_total{operation="` + operation + `",outcome="` + c.outcome + `"}`: 1,
						`portal_request_duration_seconds_count{operation="` + operation + `"}`:             1,
						`portal_request_duration_seconds_sum{operation="` + operation + `"}`:               1.5,
					}
					if c.kind != "" {
						want[`portal_failures_total{kind="`+c.kind+`"}`] = 1
					}
					wantChanges(t, m, act, want)
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
				moved := map[string]float64{
					`portal_requests_total{operation="key",outcome="` + outcome + `"}`: 1,
					`portal_request_duration_seconds_count{operation="key"}`:           1,
					`portal_request_duration_seconds_sum{operation="key"}`:             1.5,
				}
				if outcome != "ok" && outcome != "error" {
					moved[`portal_failures_total{kind="other"}`] = 1
				}
				wantChanges(t, m, act, moved)
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
