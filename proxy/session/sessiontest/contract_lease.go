package sessiontest

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Leasing is a store whose commits are fenced by its own leases.
type Leasing interface {
	session.Store
	session.Leaser
}

// TestLeaser runs the contract of [session.Leaser] against what open returns, for leasers that a fleet shares.
func TestLeaser(t *testing.T, open func(*testing.T) Leasing) {
	for name, test := range map[string]func(*testing.T, Leasing){
		"a lease is busy for others until it is let go of":        busyUntilLetGo,
		"a lease whose reply was lost is still the owner's":       leaseAgain,
		"only the owner lets go of a lease":                       ownerLetsGo,
		"only the owner renews a lease":                           ownerRenews,
		"fences grow from lease to lease":                         fencesGrow,
		"a lease sees the fence of the token kept":                leaseSees,
		"a commit under a lease that is not the last is suspect":  lastLease,
		"clients have leases of their own":                        leasesApart,
		"a lease after one that was let go of is in no doubt":     noDoubt,
		"leases after one that was abandoned say so":              doubtAfterAbandoned,
		"who holds a lease is told of a mint abandoned beside it": doubtBeside,
		"a commit without a lease is noticed by who holds it":     aloneIsNoticed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// acquire takes the client's lease for an owner of its own.
func acquire(t *testing.T, leaser session.Leaser, client session.ClientID) session.Lease {
	t.Helper()
	lease, err := leaser.Acquire(t.Context(), client, rand.Text())
	if err != nil {
		t.Fatalf("acquire: %v", err)
	}
	if lease.Client != client || lease.Fence == 0 || lease.Hold <= 0 {
		t.Errorf("lease = %+v, want the client's, with a fence and a hold", lease)
	}
	return lease
}

func wantBusy(t *testing.T, leaser session.Leaser, client session.ClientID) {
	t.Helper()
	if lease, err := leaser.Acquire(t.Context(), client, rand.Text()); !errors.Is(err, session.ErrLeaseBusy) {
		t.Errorf("acquire = %+v, %v; want it busy", lease, err)
	}
}

func letGo(t *testing.T, leaser session.Leaser, lease session.Lease) {
	t.Helper()
	if err := leaser.LetGo(t.Context(), lease); err != nil && !errors.Is(err, session.ErrLeaseDoubt) {
		t.Errorf("let go: %v", err)
	}
}

func busyUntilLetGo(t *testing.T, leasing Leasing) {
	lease := acquire(t, leasing, newClient())
	wantBusy(t, leasing, lease.Client)
	letGo(t, leasing, lease)
	letGo(t, leasing, lease)
	acquire(t, leasing, lease.Client)
}

func leaseAgain(t *testing.T, leasing Leasing) {
	lease := acquire(t, leasing, newClient())
	again, err := leasing.Acquire(t.Context(), lease.Client, lease.Owner)
	if err != nil || again != lease {
		t.Errorf("acquired again = %+v, %v; want %+v", again, err, lease)
	}
}

func ownerLetsGo(t *testing.T, leasing Leasing) {
	lease := acquire(t, leasing, newClient())
	other := lease
	other.Owner = rand.Text()
	letGo(t, leasing, other)
	wantBusy(t, leasing, lease.Client)
}

func ownerRenews(t *testing.T, leasing Leasing) {
	lease := acquire(t, leasing, newClient())
	other := lease
	other.Owner = rand.Text()
	if err := leasing.Renew(t.Context(), other); !errors.Is(err, session.ErrLeaseLost) {
		t.Errorf("another's renewal: %v, want ErrLeaseLost", err)
	}
	if err := leasing.Renew(t.Context(), lease); err != nil {
		t.Errorf("renew: %v", err)
	}
	letGo(t, leasing, lease)
	if err := leasing.Renew(t.Context(), lease); !errors.Is(err, session.ErrLeaseLost) {
		t.Errorf("renewal of what was let go of: %v, want ErrLeaseLost", err)
	}
}

func fencesGrow(t *testing.T, leasing Leasing) {
	client, last := newClient(), uint64(0)
	for range 5 {
		lease := acquire(t, leasing, client)
		if lease.Fence <= last {
			t.Errorf("fence %d after %d", lease.Fence, last)
		}
		last = lease.Fence
		letGo(t, leasing, lease)
	}
}

func leaseSees(t *testing.T, leasing Leasing) {
	first := acquire(t, leasing, newClient())
	if first.Seen != 0 {
		t.Errorf("seen = %d where there is none", first.Seen)
	}
	commit(t, leasing, fenced(first.Client, first.Fence), first.Seen)
	letGo(t, leasing, first)
	if second := acquire(t, leasing, first.Client); second.Seen != first.Fence {
		t.Errorf("seen = %d, want the fence of the token kept, %d", second.Seen, first.Fence)
	}
}

func lastLease(t *testing.T, leasing Leasing) {
	first := acquire(t, leasing, newClient())
	letGo(t, leasing, first)
	second := acquire(t, leasing, first.Client)
	late, token := fenced(first.Client, first.Fence), fenced(first.Client, second.Fence)
	wantKept(t, leasing, late, first.Seen)(suspected(late))
	wantKept(t, leasing, token, second.Seen)(suspected(token))
}

func noDoubt(t *testing.T, leasing Leasing) {
	client := newClient()
	for range 2 {
		lease := acquire(t, leasing, client)
		if lease.Doubt {
			t.Error("there is a doubt about a mint that is over")
		}
		letGo(t, leasing, lease)
	}
}

func doubtAfterAbandoned(t *testing.T, leasing Leasing) {
	lease := acquire(t, leasing, newClient())
	if err := leasing.Abandon(t.Context(), lease); err != nil {
		t.Errorf("abandon: %v", err)
	}
	for range 2 {
		lease = acquire(t, leasing, lease.Client)
		if !lease.Doubt {
			t.Error("there is no doubt about a mint that may be carried out yet")
		}
		letGo(t, leasing, lease)
	}
}

func doubtBeside(t *testing.T, leasing Leasing) {
	lease := acquire(t, leasing, newClient())
	if err := leasing.Abandon(t.Context(), session.Lease{Client: lease.Client}); err != nil {
		t.Errorf("abandon: %v", err)
	}
	wantBusy(t, leasing, lease.Client)
	if err := leasing.LetGo(t.Context(), lease); !errors.Is(err, session.ErrLeaseDoubt) {
		t.Errorf("let go: %v, want ErrLeaseDoubt", err)
	}
	if next := acquire(t, leasing, lease.Client); !next.Doubt {
		t.Error("the next lease is in no doubt")
	}
}

func aloneIsNoticed(t *testing.T, leasing Leasing) {
	for _, old := range []uint64{0, 5} {
		client := newClient()
		if old > 0 {
			commit(t, leasing, fenced(client, old), 0)
		}
		lease := acquire(t, leasing, client)
		commit(t, leasing, NewToken(client, time.Now()), 0) // by a replica that can't see the lease
		if kept := commit(t, leasing, fenced(client, lease.Fence), lease.Seen); !kept.Suspect {
			t.Errorf("two mints ran at once, and the token kept is not suspect: %+v", kept)
		}
	}
}

func leasesApart(t *testing.T, leasing Leasing) {
	acquire(t, leasing, newClient())
	acquire(t, leasing, newClient())
}
