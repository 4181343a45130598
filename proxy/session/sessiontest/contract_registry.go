package sessiontest

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// TestRegistry runs the contract of [session.Registry] against registries that open returns.
func TestRegistry(t *testing.T, open func(*testing.T) session.Registry) {
	for name, test := range map[string]func(*testing.T, desk){
		"a free key is ours, and busy for others":     freeIsOurs,
		"a claim whose answer was lost is still ours": lostAnswer,
		"a settled key gives the client to everybody": settledForAll,
		"a released key is free":                      releasedIsFree,
		"only the owner releases":                     ownerReleases,
		"only the owner settles":                      ownerSettles,
		"a settled key is not released":               settledStays,
		"a key reused for another request is refused": reusedRefused,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := session.Registration{Key: rand.Text() + " {any} key"}
			test(t, desk{open(t), owned(session.Claim{Registration: key, Hold: time.Minute})})
		})
	}
}

// desk is a registry, and a first claim on a key of its own.
type desk struct {
	registry session.Registry
	claim    session.Claim
}

func freeIsOurs(t *testing.T, d desk) {
	d.want(t, d.claim, "", nil)
	d.want(t, owned(d.claim), "", session.ErrRegistrationBusy)
}

func lostAnswer(t *testing.T, d desk) {
	d.want(t, d.claim, "", nil)
	d.want(t, d.claim, "", nil)
}

func settledForAll(t *testing.T, d desk) {
	d.want(t, d.claim, "", nil)
	d.settle(t, d.claim, "made")
	d.want(t, owned(d.claim), "made", nil)
}

func releasedIsFree(t *testing.T, d desk) {
	d.want(t, d.claim, "", nil)
	d.release(t, d.claim)
	d.want(t, owned(d.claim), "", nil)
}

func ownerReleases(t *testing.T, d desk) {
	d.want(t, d.claim, "", nil)
	d.release(t, owned(d.claim))
	d.want(t, owned(d.claim), "", session.ErrRegistrationBusy)
}

func ownerSettles(t *testing.T, d desk) {
	d.want(t, d.claim, "", nil)
	d.settle(t, owned(d.claim), "stranger")
	d.want(t, owned(d.claim), "", session.ErrRegistrationBusy)
}

func settledStays(t *testing.T, d desk) {
	d.want(t, d.claim, "", nil)
	d.settle(t, d.claim, "made")
	d.release(t, d.claim)
	d.want(t, owned(d.claim), "made", nil)
}

func reusedRefused(t *testing.T, d desk) {
	other := owned(d.claim)
	other.AccountAbstracted = true
	d.want(t, d.claim, "", nil)
	d.want(t, other, "", session.ErrInvalidRequest)
	d.settle(t, d.claim, "made")
	d.want(t, other, "", session.ErrInvalidRequest)
}

// owned returns the claim of another owner on the same key.
func owned(claim session.Claim) session.Claim {
	claim.Owner = rand.Text()
	return claim
}

func (d desk) want(t *testing.T, claim session.Claim, client session.ClientID, want error) {
	t.Helper()
	got, err := d.registry.Claim(t.Context(), claim)
	if got != client || !errors.Is(err, want) || (err != nil && want == nil) {
		t.Errorf("claim = %q, %v; want %q, %v", got, err, client, want)
	}
}

func (d desk) settle(t *testing.T, claim session.Claim, client session.ClientID) {
	t.Helper()
	if err := d.registry.Settle(context.WithoutCancel(t.Context()), claim, client, time.Minute); err != nil {
		t.Errorf("settle: %v", err)
	}
}

func (d desk) release(t *testing.T, claim session.Claim) {
	t.Helper()
	if err := d.registry.Release(t.Context(), claim); err != nil {
		t.Errorf("release: %v", err)
	}
}
