package observe

import (
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"
)

// phase is a time of the day that has a name: in which something is wrong, but for the first.
type phase struct {
	name       string
	begin, end time.Time
	isWrong    bool
}

// TestEveryQueryOfTheDashboardHasAnAnswerWithinADay lives through a cold start, a steady time, an outage of Redis and one of Portal,
// and 429, and then asks every query of the dashboard over all of it.
func TestEveryQueryOfTheDashboardHasAnAnswerWithinADay(t *testing.T) {
	t.Parallel()
	f := begin(t, "day", plan{
		replicas: 3, life: 40 * time.Second, window: 50 * time.Second,
		environ: []string{"CSTPROXY_MINT_RATE=600/m", "CSTPROXY_PROBE_RATE=1200/m", passThrough},
	})
	p := watch(t, hurry)
	p.scrape(t, f.name, f.admins()...)
	began := time.Now()
	f.drive(t, 30, func(i int) string {
		if i%10 == 0 { // who comes back after 42 seconds
			return fmt.Sprintf("seldom-%d", i/10%126)
		}
		return fmt.Sprintf("often-%d", i%min(120, 20+i/6))
	})
	f.drivePasses(t, 5, few)
	phases := f.liveThrough()
	ended := time.Now()

	d := shipped(t)
	for _, panel := range d.Panels {
		for _, query := range panel.Targets {
			points := 0
			for _, s := range p.over(filled(query.Expr, job(f.name)), began, ended) {
				points += len(s.points)
			}
			if points == 0 {
				t.Errorf("%q: nothing comes for %s", panel.Title, query.Expr)
			}
		}
	}
	for _, a := range d.Annotations.List {
		if len(p.over(filled(a.Expr, job(f.name)), began, ended)) == 0 {
			t.Errorf("the annotations %s: nothing comes for %s", a.Name, a.Expr)
		}
	}
	if *dayPlot == "" {
		return
	}
	plot := drawing{began: began, ended: ended, phases: phases}
	for _, title := range plotted {
		panel := d.panel(t, "timeseries", title)
		plot.add(panel, func(query string) []series { return p.over(filled(query, job(f.name)), began, ended) })
	}
	if err := os.WriteFile(*dayPlot, []byte(plot.svg()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// liveThrough lets the day pass.
func (f *fleet) liveThrough() (phases []phase) {
	f.t.Helper()
	steady := func(seconds int) {
		for range seconds / 2 {
			<-time.After(2 * time.Second)
			f.reject(f.replicas[0], "unloved")
		}
	}
	during := func(name string, seconds int, begin, end func()) {
		wrong := phase{name: name, begin: time.Now(), isWrong: true}
		begin()
		<-time.After(time.Duration(seconds) * time.Second)
		end()
		wrong.end = time.Now()
		phases = append(phases, wrong)
	}
	mended := func(operation string) func() { return func() { f.spoil(operation, fault{}) } }
	start := phase{name: "cold start", begin: time.Now()}
	steady(12)
	start.end = time.Now()
	phases = append(phases, start)
	steady(4)
	during("Redis is away", 10, f.redis.kill, func() { f.redis.launch(f.t) })
	steady(8)
	during("Portal is away", 10, func() { f.spoil("all", fault{"kind": "reset"}) }, mended("all"))
	steady(10)
	during("Portal says 429", 8, func() {
		f.spoil("mint", fault{"kind": "status", "status": http.StatusTooManyRequests, "retryAfter": "1"})
	}, mended("mint"))
	steady(8)
	return phases
}
