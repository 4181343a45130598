package observe

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// TestHitRatioOfTenMinutesIsWhatPortalAndCallersCounted compresses ten minutes to one: a scrape every second in place of every
// ten, and every duration of the rules divided by ten.
//
// Over the whole run, with nothing going on at either end, the rule's expression must give what the simulated Portal counted.
// And each value that it recorded is held to the callers' own count over the same 30 seconds (5 minutes), whose edges are as far off
// as the scrapes next to them.
func TestHitRatioOfTenMinutesIsWhatPortalAndCallersCounted(t *testing.T) {
	t.Parallel()
	const window, run = 30 * time.Second, 60 * time.Second
	f := begin(t, "minutes", plan{
		replicas: 3, life: 12 * time.Second, window: 25 * time.Second,
		environ: []string{"CSTPROXY_MINT_RATE=2000/m", "CSTPROXY_PROBE_RATE=2000/m"}, // 200/m, ten times as fast
	})
	p := watch(t, 10)
	p.scrape(t, f.name, f.admins()...)
	before := time.Now()
	<-time.After(2 * time.Second)
	// Of 12 requests 11 are for clients who come every two seconds once they are there, up to 110 of them, and one is for a
	// client who comes back after 15: idle by then.
	began := time.Now()
	d := f.drive(t, 60, func(i int) string {
		if i%12 == 0 {
			return fmt.Sprintf("seldom-%d", i/12%75)
		}
		return fmt.Sprintf("often-%d", i%min(110, 10+i/15))
	})
	<-time.After(run)
	d.end()
	ended := time.Now()
	<-time.After(3 * time.Second) // every replica is scraped once more
	after := time.Now()

	tokens, minted := d.count(before, after)
	lost := d.lost()
	if len(lost) > 0 {
		t.Logf("no token came, and none counts, for %v", lost) // as on a machine that is too busy
	}
	failed := 0
	for _, n := range lost {
		failed += n
	}
	if failed*50 > tokens {
		t.Fatalf("%d requests failed beside %d tokens: a ratio of the rest tells nothing", failed, tokens)
	}
	if made := f.minted(); made != minted && len(lost) == 0 {
		t.Errorf("Portal made %d tokens, callers waited for %d", made, minted)
	}
	counted := 1 - float64(f.minted())/float64(tokens)
	whole := p.instant(fmt.Sprintf(`1 - sum(increase(cstproxy_tokens_served_total{job=%q,source="mint"}[%[2]ds])) / sum(increase(cstproxy_tokens_served_total{job=%[1]q}[%[2]ds]))`,
		job(f.name), int(after.Sub(before).Seconds())))
	if len(whole) != 1 || len(whole[0].points) != 1 || math.Abs(whole[0].points[0].value-counted) > 0.01 {
		t.Fatalf("over the run the rule's expression gives %v, Portal and callers counted %.4f", whole, counted)
	}
	t.Logf("%d tokens, %d mints: counted %.4f, Prometheus over the run %.4f", tokens, minted, counted, whole[0].points[0].value)

	recorded := p.instant(fmt.Sprintf(`cstproxy:hit_ratio:rate5m{job=%q}[1h]`, job(f.name)))
	if len(recorded) != 1 {
		t.Fatalf("the rule recorded %v", recorded)
	}
	var off []float64
	for _, r := range recorded[0].points {
		if r.at.Add(-window).Before(began) || r.at.After(ended) {
			continue
		}
		tokens, minted := d.count(r.at.Add(-window), r.at)
		off = append(off, math.Abs(r.value-(1-float64(minted)/float64(tokens))))
	}
	if len(off) < 10 { // one a second, where the machine keeps up
		t.Fatalf("the rule was evaluated in %d whole windows, want 10 and more", len(off))
	}
	slices.Sort(off)
	median, worst := off[len(off)/2], off[len(off)-1]
	t.Logf("in each of %d windows: half are at most %.4f off, the worst is %.4f", len(off), median, worst)
	if median > 0.01 || worst > 0.03 {
		t.Error("that is more than 0.01, and 0.03 where scrapes were late")
	}
	if fired := p.fired(""); len(fired) > 0 {
		t.Errorf("%q fired in a quiet run", fired)
	}
}
