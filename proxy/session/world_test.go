package session_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

const (
	alice session.ClientID = "cm0r6nkek00ej10dwwx8wdjmf"
	bob   session.ClientID = "cm0r6nkek00ej10dwwx8wdjmg"

	deadline = 10 * time.Second
	// short is an age at which a token is live, but shorter than the least life: only a refresh makes it serve.
	short = day - 4*time.Minute
	// due is an age at which a token is long enough for most, and due for a refresh.
	due = 13 * hour
)

// world is a Broker among fakes. It lives in a synctest bubble, and its clock is the bubble's.
type world struct {
	*session.Broker
	t      *testing.T
	parts  session.Parts
	store  *sessiontest.Store
	portal *sessiontest.Portal
	log    bytes.Buffer
}

func newWorld(t *testing.T, changes ...func(*session.Parts)) *world {
	t.Helper()
	w := &world{t: t, store: &sessiontest.Store{}, portal: &sessiontest.Portal{Lifetime: portal(), Now: time.Now}}
	w.parts = session.Parts{
		Store: w.store, Leaser: w.store, Registry: w.store, Portal: w.portal, Lifetime: portal(), StoreDown: session.StoreDownMint,
		Deadline: deadline, Now: time.Now, Sent: time.Now, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	for _, change := range changes {
		change(&w.parts)
	}
	w.Broker = w.replica()
	return w
}

// replica returns another Broker on the same store and Portal.
func (w *world) replica() *session.Broker {
	b := session.NewBroker(w.parts)
	// The test's context is over when its cleanups run, so whatever still flies is canceled.
	w.t.Cleanup(func() { b.Close(w.t.Context()) })
	return b
}

func failClosed(p *session.Parts) { p.StoreDown = session.StoreDownFail }

func inMode(mode session.RefreshMode) func(*session.Parts) {
	return func(p *session.Parts) { p.Lifetime.Refresh = mode }
}

// got is what one caller saw.
type got struct {
	session.Grant
	err  error
	took time.Duration
}

// ask lets one caller fetch alice's token.
func (w *world) ask(ctx context.Context, need session.Need) got {
	began := time.Now()
	grant, err := w.Grant(ctx, session.Ask{Client: alice, Need: need})
	return got{Grant: grant, err: err, took: time.Since(began)}
}

// crowd lets n callers fetch alice's token at once.
func (w *world) crowd(n int, need session.Need) []got {
	all := make([]got, n)
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() { all[i] = w.ask(w.t.Context(), need) })
	}
	group.Wait()
	return all
}

// fetch returns alice's token, which must come, be hers, and be good at Portal.
func (w *world) fetch(need session.Need) got {
	w.t.Helper()
	g := w.ask(w.t.Context(), need)
	if g.err != nil {
		w.t.Fatalf("fetch: %v", g.err)
	}
	if g.Token.Client != alice || g.Token.ID != session.IdentifyToken(g.Token.Secret) {
		w.t.Errorf("granted %+v for %s", g.Token, alice)
	}
	if !w.portal.Accepts(g.Token) {
		w.t.Errorf("granted a token that Portal refuses: minted %s, active %s", g.Token.MintedAt, g.Token.ActiveAt)
	}
	return g
}

// aged returns alice's token, fetched now and then left alone for age.
func (w *world) aged(age time.Duration) session.Token {
	w.t.Helper()
	token := w.fetch(session.Need{}).Token
	time.Sleep(age)
	return token
}

// stored returns what the store keeps for alice.
func (w *world) stored() session.Token {
	w.t.Helper()
	token, err := w.store.Load(w.t.Context(), alice)
	if err != nil {
		w.t.Fatalf("load: %v", err)
	}
	return token
}

// settled waits until nothing moves any more unless time does.
func (w *world) settled() *world {
	synctest.Wait()
	return w
}

func (w *world) wantMints(want ...session.Reason) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.portal.Mints()); diff != "" {
		w.t.Errorf("mints (-want +got):\n%s", diff)
	}
}

func (w *world) wantProbes(want int) {
	w.t.Helper()
	if n := w.portal.Probes(); n != want {
		w.t.Errorf("%d probes, want %d", n, want)
	}
}

// want checks how a token was granted, and how long that took.
func (g got) want(t *testing.T, source session.Source, id session.TokenID, took time.Duration) {
	t.Helper()
	if g.err != nil || g.Source != source || g.Token.ID != id || g.took != took {
		t.Errorf("granted %s from %q after %s, %v; want %s from %s after %s", g.Token.ID, g.Source, g.took, g.err, id, source, took)
	}
}

// wantMinted checks that a token other than those was minted.
func (g got) wantMinted(t *testing.T, reason session.Reason, others ...session.TokenID) {
	t.Helper()
	if g.err != nil || g.Source != session.SourceMint || g.Reason != reason {
		t.Errorf("granted from %q %q, %v; want from mint %q", g.Source, g.Reason, g.err, reason)
	}
	for _, other := range others {
		if g.Token.ID == other {
			t.Errorf("granted %s once more", other)
		}
	}
}

func (g got) wantError(t *testing.T, want error, took time.Duration) {
	t.Helper()
	if !errors.Is(g.err, want) || g.took != took {
		t.Errorf("err = %v after %s, want %v after %s", g.err, g.took, want, took)
	}
	if !g.Token.IsZero() {
		t.Error("a token came with the error")
	}
}

// hooked is the fake Portal with something in front of single requests: a hook that returns an error answers instead.
type hooked struct {
	*sessiontest.Portal
	mint, probe, register func(context.Context) error
}

// onMint, onProbe and onRegister put a hook in front of one kind of request.
func onMint(hook func(context.Context) error) func(*session.Parts) {
	return func(p *session.Parts) { p.Portal = hooked{Portal: p.Portal.(*sessiontest.Portal), mint: hook} }
}

func onProbe(hook func(context.Context) error) func(*session.Parts) {
	return func(p *session.Parts) { p.Portal = hooked{Portal: p.Portal.(*sessiontest.Portal), probe: hook} }
}

func onRegister(hook func(context.Context) error) func(*session.Parts) {
	return func(p *session.Parts) { p.Portal = hooked{Portal: p.Portal.(*sessiontest.Portal), register: hook} }
}

func (h hooked) Mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	if err := call(ctx, h.mint); err != nil {
		return session.Token{}, err
	}
	return h.Portal.Mint(ctx, client, reason)
}

func (h hooked) Probe(ctx context.Context, token session.Token) error {
	if err := call(ctx, h.probe); err != nil {
		return err
	}
	return h.Portal.Probe(ctx, token)
}

func (h hooked) Register(ctx context.Context, registration session.Registration) (session.Token, error) {
	if err := call(ctx, h.register); err != nil {
		return session.Token{}, err
	}
	return h.Portal.Register(ctx, registration)
}

func call(ctx context.Context, hook func(context.Context) error) error {
	if hook == nil {
		return nil
	}
	return hook(ctx)
}

// hang never answers.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return session.ErrPortalTimeout
}
