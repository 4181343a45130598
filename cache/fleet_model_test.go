package cache_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

const (
	// skewed is how far apart the clocks of two replicas may be, and a little more.
	skewed = time.Minute
	// grace is how long a replica that is well connected, and whose memory is over, may take to find out: a token in doubt
	// is asked for every other second, and one request to Portal and a few to the store are under way.
	grace = 5 * time.Second
	// messages is how long one is under way.
	messages = 300 * time.Millisecond
	// calmEnough is how long nothing must have been wrong for nothing to be under way that began when something was.
	calmEnough = 4 * givenUp
)

var (
	fleetClients = []session.ClientID{alice, "bob"}
	fleetNeeds   = []time.Duration{0, time.Minute, hour, 6 * hour, 20 * hour, day - time.Minute, day}
	fleetWaits   = []time.Duration{
		0, time.Millisecond, 5 * time.Millisecond, 40 * time.Millisecond, messages, time.Second, 3 * time.Second,
	}
	fleetSleeps = []time.Duration{
		100 * time.Millisecond, time.Second, 2500 * time.Millisecond, 4 * time.Second, 12 * time.Second, 31 * time.Second, 90 * time.Second,
	}
	fleetAges = []time.Duration{
		10 * time.Minute, 4 * hour, 11 * hour, 13 * hour, day - 5*time.Minute, day - calmEnough - 70*time.Second,
		day - calmEnough - 20*time.Second, day, 3 * day,
	}
)

// history is what befalls a fleet, step after step, while callers of earlier steps may still wait.
type history struct {
	*world
	t       *rapid.T
	callers sync.WaitGroup
	// held :: client -> the token that was granted last
	held map[session.ClientID]session.Token
	// near: the replicas' clocks are so close that who is asked when can be told.
	near bool
}

func newHistory(t *rapid.T) *history {
	life := session.Lifetime{
		IdleTTL: day, SafetyMargin: time.Minute, MinTTL: 5 * time.Minute,
		RefreshWindow: rapid.SampledFrom([]time.Duration{25 * hour, 2 * day, 7 * day}).Draw(t, "window"),
		Refresh:       rapid.SampledFrom([]session.RefreshMode{session.RefreshProbe, session.RefreshObserve}).Draw(t, "mode"),
	}
	w := &world{
		luck: &luck{rand: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "luck"), 0))}, life: life, shared: &sessiontest.Store{},
		ttl: rapid.SampledFrom([]time.Duration{0, 2 * time.Second, memoryTTL}).Draw(t, "ttl"),
	}
	w.portal = &sessiontest.Portal{Lifetime: life, Now: w.now, KillsOlder: rapid.Bool().Draw(t, "kills older")}
	w.book = newBook(w)
	h := &history{world: w, t: t, held: map[session.ClientID]session.Token{}, near: rapid.IntRange(0, 3).Draw(t, "near") > 0}
	for range rapid.IntRange(2, 3).Draw(t, "replicas") {
		h.members = append(h.members, w.join(h.skew()))
	}
	for _, m := range h.members {
		h.book.well[m] = time.Now()
	}
	return h
}

func (h *history) skew() time.Duration {
	most := 200
	if !h.near {
		most = 29_000
	}
	return time.Duration(rapid.IntRange(-most, most).Draw(h.t, "skew")) * time.Millisecond
}

func (h *history) client() session.ClientID {
	return rapid.SampledFrom(fleetClients).Draw(h.t, "client")
}

func (h *history) member() (int, *member) {
	all := h.all()
	i := rapid.IntRange(0, len(all)-1).Draw(h.t, "replica")
	return i, all[i]
}

// fetches lets a few callers begin to fetch.
func (h *history) fetches(*rapid.T) {
	for range rapid.IntRange(1, 4).Draw(h.t, "callers") {
		_, m := h.member()
		f := &fetch{ask: session.Ask{Client: h.client()}, by: m}
		if rapid.IntRange(0, 3).Draw(h.t, "explicit") == 0 {
			f.ask.Need.Explicit, f.ask.Need.Life = true, rapid.SampledFrom(fleetNeeds).Draw(h.t, "life")
		}
		if rapid.IntRange(0, 7).Draw(h.t, "rejecting") == 0 {
			f.ask.Need.Rejected = h.holds(f.ask.Client).ID
		}
		patience := time.Duration(0)
		if rapid.IntRange(0, 7).Draw(h.t, "leaves") == 0 {
			patience = 300 * time.Millisecond
		}
		h.begin(f, patience)
	}
	time.Sleep(rapid.SampledFrom(fleetWaits).Draw(h.t, "wait"))
}

// cold has callers everywhere fetch what is forgotten, and maybe replicas lose the store and find it again meanwhile.
func (h *history) cold(*rapid.T) {
	_, m := h.member()
	client := h.client()
	h.forget(m, client)
	for _, m := range h.all() {
		h.begin(&fetch{ask: session.Ask{Client: client}, by: m}, 0)
	}
	if rapid.Bool().Draw(h.t, "blip") {
		time.Sleep(rapid.SampledFrom(fleetWaits).Draw(h.t, "wait"))
		for _, m := range h.chosen(m) {
			h.cut(m, severed)
		}
		time.Sleep(rapid.SampledFrom(fleetWaits).Draw(h.t, "gone"))
		for _, m := range h.all() {
			h.mend(m, 0)
		}
	}
	time.Sleep(rapid.SampledFrom(fleetWaits).Draw(h.t, "then"))
	h.report(h.t)
}

// report has a caller come who saw the latest token refused.
func (h *history) report(*rapid.T) {
	_, m := h.member()
	client := h.client()
	h.begin(&fetch{ask: session.Ask{Client: client, Need: session.Need{Rejected: h.holds(client).ID}}, by: m}, 0)
	time.Sleep(rapid.SampledFrom(fleetWaits).Draw(h.t, "wait"))
}

// storm has clients come and go while Portal does what it likes, and all is well after that.
func (h *history) storm(*rapid.T) {
	h.setWeather(stormy)
	client := h.client()
	for range rapid.IntRange(1, 4).Draw(h.t, "times") {
		_, m := h.member()
		h.forget(m, client)
		_, m = h.member()
		h.begin(&fetch{ask: session.Ask{Client: client}, by: m}, 0)
		time.Sleep(rapid.SampledFrom([]time.Duration{time.Second, attempt + time.Second}).Draw(h.t, "wait"))
	}
	h.spell(h.t)
}

// use has a client use its token for some days, twice a day.
func (h *history) use(*rapid.T) {
	client := h.client()
	for range rapid.IntRange(1, 6).Draw(h.t, "times") {
		h.age(12*hour + time.Minute)
		_, m := h.member()
		h.fetchNow(m, client, session.Need{})
	}
}

// spell lets Portal be well for long enough to find out, and has everybody fetch.
func (h *history) spell(*rapid.T) {
	h.setWeather(fair)
	time.Sleep(h.ttl + grace + attempt + time.Second)
	for _, m := range h.all() {
		for _, client := range fleetClients {
			h.begin(&fetch{ask: session.Ask{Client: client}, by: m}, 0)
		}
	}
	h.callers.Wait()
}

func (h *history) holds(client session.ClientID) session.Token {
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	return h.held[client]
}

// begin has a caller fetch, who leaves after patience, if that is not 0.
func (h *history) begin(f *fetch, patience time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	if patience > 0 {
		ctx, cancel = context.WithTimeout(ctx, patience)
	}
	f.began, f.pending = time.Now(), true
	h.book.mu.Lock()
	h.book.fetches = append(h.book.fetches, f)
	h.book.mu.Unlock()
	h.callers.Go(func() {
		defer cancel()
		grant, err := f.by.Grant(ctx, f.ask)
		h.book.mu.Lock()
		defer h.book.mu.Unlock()
		f.grant, f.err, f.pending, f.left = grant, err, false, ctx.Err() != nil
		h.judge(f)
	})
}

// fetchNow returns what a caller got who waits for it.
func (h *history) fetchNow(m *member, client session.ClientID, need session.Need) *fetch {
	f := &fetch{ask: session.Ask{Client: client, Need: need}, by: m}
	h.begin(f, 0)
	h.callers.Wait()
	return f
}

// judge holds what a caller got against what really is. The book is locked.
func (h *history) judge(f *fetch) {
	who := f.by.name() + " for " + string(f.ask.Client)
	if f.err != nil {
		h.book.noteLocked("%s: %v, wants %+v", who, f.err, f.ask.Need)
		h.judgeError(f, who)
		return
	}
	h.book.noteLocked("%s: granted %s from %s %s %s, wants %+v", who, name(f.grant.Token.ID), f.grant.Source, f.grant.Reason, f.grant.Shared, f.ask.Need)
	token, really := f.grant.Token, h.book.tokens[f.grant.Token.ID]
	h.held[f.ask.Client] = token
	switch {
	case !slices.Contains(session.Sources(), f.grant.Source):
		h.book.failLocked("%s: granted from %q", who, f.grant.Source)
	case really == nil, session.IdentifyToken(token.Secret) != token.ID:
		h.book.failLocked("%s: granted a token that Portal never made", who)
	case really.own.Client != f.ask.Client, token.Client != f.ask.Client:
		h.book.failLocked("%s: granted a token of %s", who, really.own.Client)
	case token.ID == f.ask.Need.Rejected:
		h.book.failLocked("%s: granted the token that the caller rejected", who)
	case !h.now().Before(h.life.ExpiresAt(really.own)):
		h.book.failLocked("%s: granted %s, which ended at %s", who, name(token.ID), h.life.ExpiresAt(really.own))
	case f.ask.Need.Explicit && h.life.ExpiresAt(really.own).Sub(h.now()) < f.ask.Need.Life-2*givenUp:
		h.book.failLocked("%s: granted %s with %s left", who, name(token.ID), h.life.ExpiresAt(really.own).Sub(h.now()))
	case token.Suspect:
		h.book.failLocked("%s: granted %s, which is suspect", who, name(token.ID))
	case h.book.forgotBefore(f):
		h.book.failLocked("%s: granted %s, which it had forgotten", who, name(token.ID))
	default:
		h.judgeDead(f, who, really)
	}
}

// judgeError: nothing is granted only if something was wrong.
func (h *history) judgeError(f *fetch, who string) {
	well, known := h.book.well[f.by]
	others := func(r session.Token) bool { return r.IsZero() || r.ID != f.ask.Need.Rejected }
	switch {
	case f.left:
	case known && well.Before(f.began) && !slices.ContainsFunc(h.book.during(f.ask.Client, f.began), others):
		h.book.failLocked("%s: granted nothing, and the store keeps what the caller rejected: %v", who, f.err)
	case h.book.calmAt(f.began):
		h.book.failLocked("%s: granted nothing though nothing is wrong: %v", who, f.err)
	case f.ask.Need == session.Need{} && h.usable(f):
		h.book.failLocked("%s: granted nothing though the store keeps a usable token: %v", who, f.err)
	}
}

// usable reports whether the store kept one and the same token all the while, which any replica could serve that reached it.
func (h *history) usable(f *fetch) bool {
	well, known := h.book.well[f.by]
	if !known || !well.Before(f.began) {
		return false
	}
	latest := h.now().Add(time.Duration(h.late.Load()) + skewed)
	records := h.book.during(f.ask.Client, f.began)
	return !slices.ContainsFunc(records, func(r session.Token) bool {
		dated := r.ActiveAt.After(h.now().Add(-skewed))
		return r.ID != records[0].ID || r.Suspect || dated || !h.life.Live(r, latest)
	})
}

// judgeDead: a replica that was well connected for longer than it takes grants nothing but what the store keeps, and that only
// if Portal accepts it.
func (h *history) judgeDead(f *fetch, who string, really *issued) {
	b, id := h.book, f.grant.Token.ID
	takes := h.ttl + grace
	well, known := b.well[f.by]
	since := time.Now().Add(-takes)
	if !known || well.After(since) {
		return
	}
	told := f.began.Add(-messages)
	if h.book.calmAt(told) && !slices.ContainsFunc(b.during(f.ask.Client, told), func(r session.Token) bool { return r.ID == id }) {
		b.failLocked("%s: granted %s, which is not what the store keeps, and everybody was told", who, name(id))
	}
	settled := false
	there := false
	for _, record := range b.during(f.ask.Client, since) {
		there = there || record.ID == id
		settled = settled || record.ID == id && !record.Suspect && !record.ActiveAt.Before(record.Doubt)
	}
	portal := !b.portal.IsZero() && !b.portal.After(since.Add(-attempt)) // what hung then is given up
	dead := !really.dead.IsZero() && !really.dead.After(since)
	switch {
	case !there:
		b.failLocked("%s: granted %s, which the store has not kept for %s", who, name(id), takes)
	case !dead, !portal, !h.near:
	case !settled:
		b.failLocked("%s: granted %s, which is dead since %s, without asking for it", who, name(id), really.dead.Format("15:04:05.000"))
	default:
		if why, ok := b.accounted(really.killer, really); ok {
			b.failLocked("%s: granted %s, killed at %s by the mint of %s, of which nobody left word", who, name(id),
				really.dead.Format("15:04:05.000"), name(really.killer.token))
		} else {
			b.excused[why]++
		}
	}
}

// weatherChanges makes Portal better or worse.
func (h *history) weatherChanges(*rapid.T) {
	now := rapid.SampledFrom([]weather{fair, fair, slow, failing, stormy, stormy}).Draw(h.t, "weather")
	h.setWeather(now)
}

func (h *history) setWeather(now weather) {
	h.weather.Store(int32(now))
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	switch {
	case now != fair:
		h.book.portal = time.Time{}
	case h.book.portal.IsZero():
		h.book.portal = time.Now()
	}
	h.book.noteLocked("weather %d", now)
	h.calmDown()
}

// calmDown says since when nothing is wrong. The book is locked.
func (h *history) calmDown() {
	calm := !h.book.portal.IsZero() && h.early.Load() == 0 && h.late.Load() == 0
	for _, m := range h.members {
		_, well := h.book.well[m]
		calm = calm && well && !m.mute.Load()
	}
	h.book.calm = time.Time{}
	if calm {
		h.book.calm = time.Now()
	}
}

// disconnect cuts a replica off from the store, or all of them.
func (h *history) disconnect(*rapid.T) {
	how := rapid.SampledFrom([]link{severed, severed, deaf}).Draw(h.t, "how")
	_, one := h.member()
	for _, m := range h.chosen(one) {
		h.cut(m, how)
	}
}

func (h *history) chosen(one *member) []*member {
	if rapid.IntRange(0, 2).Draw(h.t, "all") == 0 {
		return h.all()
	}
	return []*member{one}
}

func (h *history) cut(m *member, how link) {
	m.store.Store(int32(how))
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	delete(h.book.well, m)
	h.book.noteLocked("%s: link %d", m.name(), how)
	h.calmDown()
}

// connect mends links.
func (h *history) connect(*rapid.T) {
	_, one := h.member()
	for _, m := range h.chosen(one) {
		h.mend(m, time.Duration(rapid.IntRange(0, 2000).Draw(h.t, "resubscribed"))*time.Millisecond)
	}
}

// mend connects a replica; it hears messages again, and knows that it may have missed some, after a while.
func (h *history) mend(m *member, after time.Duration) {
	if m.store.Swap(int32(linked)) == int32(linked) && !m.mute.Load() {
		return
	}
	m.mute.Store(true)
	time.Sleep(after)
	m.mute.Store(false)
	m.tier.Doubt()
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	h.book.well[m] = time.Now()
	h.book.noteLocked("%s: linked", m.name())
	h.calmDown()
}

// mutes has a replica hear no messages for a while.
func (h *history) mutes(*rapid.T) {
	_, m := h.member()
	if m.store.Load() != int32(linked) {
		return
	}
	m.mute.Store(true)
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	h.book.noteLocked("%s: mute", m.name())
	h.calmDown()
}

// lose has the store lose everything.
func (h *history) lose(*rapid.T) {
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	h.book.missLocked()
	h.shared.Lose()
	h.lives.Add(1)
	clear(h.book.gone)
	clear(h.book.forgotten)
	h.book.noteLocked("the store lost everything")
	for _, client := range fleetClients {
		h.book.lookLocked(client)
	}
	h.calmDown()
}

// crash ends a replica in the middle of whatever it does, and has another take its place.
func (h *history) crash(*rapid.T) {
	i, m := h.member()
	h.cut(m, crashed)
	h.replace(i, m)
}

// restart ends a replica in peace.
func (h *history) restart(*rapid.T) { h.replace(h.member()) }

func (h *history) replace(i int, m *member) {
	h.cut(m, link(m.store.Load()))
	patience := givenUp / 4
	if link(m.store.Load()) == crashed {
		patience = 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m.end(ctx)
	m.store.Store(int32(crashed))
	next := h.join(h.skew())
	h.mu.Lock()
	h.members[i] = next
	h.mu.Unlock()
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	h.book.well[next] = time.Now()
	h.book.noteLocked("%s: begins", next.name())
	h.calmDown()
}

// logout forgets a client's token.
func (h *history) logout(*rapid.T) {
	_, m := h.member()
	h.forget(m, h.client())
}

func (h *history) forget(m *member, client session.ClientID) {
	h.book.note("%s: is to forget what %s has", m.name(), client)
	held := h.holds(client).ID
	err := m.Forget(context.Background(), client)
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	h.book.noteLocked("%s: forgot what %s has: %v", m.name(), client, err)
	if _, gone := h.book.gone[held]; gone && err == nil {
		h.book.forgotten[forgetting{m, held}] = time.Now()
	}
}

// kill has a token die that somebody holds, and nobody knows.
func (h *history) kill(*rapid.T) {
	token := h.holds(h.client())
	if token.IsZero() {
		return
	}
	h.portal.Kill(token.ID)
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	if really := h.book.tokens[token.ID]; really.dead.IsZero() {
		really.dead = time.Now()
	}
	h.book.noteLocked("portal: killed %s", name(token.ID))
}

// clocks puts the fleet's clock in doubt, or makes it sure again.
func (h *history) clocks(*rapid.T) {
	ahead := rapid.SampledFrom([]time.Duration{0, 0, time.Second, time.Minute, 3 * hour}).Draw(h.t, "late")
	behind := rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute, 3 * hour}).Draw(h.t, "early")
	h.late.Store(int64(ahead))
	h.early.Store(int64(behind))
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	h.book.noteLocked("the time is %s to %s", -behind, ahead)
	h.calmDown()
}

func (h *history) waits(*rapid.T) { time.Sleep(rapid.SampledFrom(fleetSleeps).Draw(h.t, "wait")) }

func (h *history) ages(*rapid.T) { h.age(rapid.SampledFrom(fleetAges).Draw(h.t, "age")) }

// age lets hours pass at once, while nothing is under way.
func (h *history) age(age time.Duration) {
	h.callers.Wait()
	time.Sleep(calmEnough)
	h.passed.Add(int64(age))
	h.book.note("%s pass", age)
}

// stampede: cold callers everywhere cost one mint, if nothing is wrong.
func (h *history) stampede(*rapid.T) {
	if rapid.Bool().Draw(h.t, "peace") {
		h.peace()
	}
	h.book.mu.Lock()
	calm := h.book.calmAt(time.Now())
	h.book.mu.Unlock()
	if !calm {
		return
	}
	h.callers.Wait()
	time.Sleep(grace)
	_, m := h.member()
	client := h.client()
	h.forget(m, client)
	time.Sleep(rapid.SampledFrom([]time.Duration{messages, h.ttl + time.Second}).Draw(h.t, "after"))
	before := len(h.portal.Mints())
	var all []*fetch
	for i := range rapid.IntRange(2, 7).Draw(h.t, "callers") {
		f := &fetch{ask: session.Ask{Client: client}, by: h.members[i%len(h.members)]}
		all = append(all, f)
		h.begin(f, 0)
	}
	h.callers.Wait()
	if got := len(h.portal.Mints()) - before; got != 1 {
		h.fatalf("%d cold callers cost %d mints", len(all), got)
	}
	for _, f := range all {
		if f.err == nil && f.grant.Token.ID != all[0].grant.Token.ID {
			h.fatalf("one stampede was granted %s and %s", name(f.grant.Token.ID), name(all[0].grant.Token.ID))
		}
	}
}

func (h *history) fatalf(format string, args ...any) {
	h.book.mu.Lock()
	h.book.failLocked(format, args...)
	h.book.mu.Unlock()
	h.between(h.t)
}

// between tells of what was found wrong.
func (h *history) between(*rapid.T) {
	synctest.Wait()
	h.book.mu.Lock()
	wrong, trace := h.book.wrong, h.book.trace
	h.book.mu.Unlock()
	if len(wrong) > 0 {
		h.t.Fatalf("%s\n%s", wrong[0], strings.Join(trace[max(0, len(trace)-400):], "\n"))
	}
}

// peace ends all faults, and waits until nothing that began under them can happen any more.
func (h *history) peace() {
	h.setWeather(fair)
	h.late.Store(0)
	h.early.Store(0)
	for _, m := range h.all() {
		h.mend(m, 0)
	}
	h.callers.Wait()
	time.Sleep(calmEnough + 2*skewed)
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	h.book.noteLocked("peace")
}

// quiescence: after all faults one fetch at each replica finds out what is to be found out, and then nothing changes.
func (h *history) quiescence() {
	h.peace()
	for _, client := range fleetClients {
		for _, m := range h.all() {
			h.recover(m, client)
		}
	}
	time.Sleep(time.Second)
	mints := len(h.portal.Mints())
	for range 2 {
		for _, client := range fleetClients {
			h.agree(client)
		}
		time.Sleep(h.ttl + grace)
	}
	if got := len(h.portal.Mints()); got != mints {
		h.fatalf("%d mints in peace", got-mints)
	}
}

// recover fetches; only what nobody could know of may be dead, and a caller who says so gets another.
func (h *history) recover(m *member, client session.ClientID) {
	f := h.fetchNow(m, client, session.Need{})
	if f.err == nil && !h.portal.Accepts(f.grant.Token) {
		f = h.fetchNow(m, client, session.Need{Rejected: f.grant.Token.ID})
	}
	if f.err != nil || !h.portal.Accepts(f.grant.Token) {
		h.fatalf("in peace %s has no live token of %s: %v", m.name(), client, f.err)
	}
	h.between(h.t)
}

// agree: all replicas grant the same live token.
func (h *history) agree(client session.ClientID) {
	var first session.Token
	for i, m := range h.all() {
		f := h.fetchNow(m, client, session.Need{})
		if i == 0 {
			first = f.grant.Token
		}
		if f.err != nil || f.grant.Token.ID != first.ID || !h.portal.Accepts(first) {
			h.fatalf("in peace %s grants %s of %s, %v; another grants %s", m.name(), name(f.grant.Token.ID), client, f.err, name(first.ID))
		}
	}
	h.between(h.t)
}

// end cancels whatever still flies.
func (h *history) end() {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	for _, m := range h.all() {
		m.store.Store(int32(crashed))
		m.end(now)
	}
	h.callers.Wait()
}

func TestNoHistoryOfAFleetWithFaultsLeavesADeadTokenThatSomebodyKnewOf(t *testing.T) {
	t.Parallel()
	excused := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		rapid.SyncTest(t, func(t *rapid.T) {
			h := newHistory(t)
			defer h.end()
			actions := map[string]func(*rapid.T){
				"fetch": h.fetches, "fetch again": h.fetches, "fetch once more": h.fetches, "cold": h.cold, "cold again": h.cold,
				"report": h.report, "logout": h.logout, "stampede": h.stampede,
				"wait": h.waits, "wait again": h.waits, "age": h.ages, "use": h.use, "clocks": h.clocks,
				"weather": h.weatherChanges, "spell": h.spell, "spell again": h.spell, "storm": h.storm, "kill": h.kill,
				"disconnect": h.disconnect, "connect": h.connect, "connect again": h.connect, "mute": h.mutes, "lose": h.lose,
				"crash": h.crash, "restart": h.restart,
			}
			actions[""] = h.between
			t.Repeat(actions)
			h.quiescence()
			for why, n := range h.book.excused {
				excused[why] += n
			}
		})
	})
	t.Logf("excused: %v", excused)
}
