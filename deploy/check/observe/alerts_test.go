package observe

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hurry is what the rules' durations are divided by: 30 seconds between scrapes, as the PodMonitor has it, are one.
const hurry = 30

// scenario is a fault, and the alerts that it is known by.
type scenario struct {
	plan plan
	// traffic is whom callers ask for, 10 times a second; few unless it is set.
	traffic func(i int) string
	// fault breaks something, or keeps it broken: it is called at every step.
	fault func(f *fleet, step int)
	// fires must fire. Besides may, for they follow from the fault.
	fires, besides []string
}

// scenarios :: name → fault. Together they make every alert fire but one.
var scenarios = map[string]scenario{
	"one-dies": {
		plan:    plan{replicas: 2},
		fires:   []string{"CstproxyTargetDown"},
		traffic: nobody,
		fault:   once(func(f *fleet) { f.replicas[1].kill() }),
	},
	"all-die": {
		plan:    plan{replicas: 2},
		fires:   []string{"CstproxyNoReplica", "CstproxyTargetDown"},
		traffic: nobody,
		fault:   once(func(f *fleet) { f.replicas[0].kill(); f.replicas[1].kill() }),
	},
	"restarts": {
		fires:   []string{"CstproxyRestarting"},
		traffic: nobody,
		fault: every(3*time.Second, func(f *fleet) { // so that each is scraped
			f.replicas[0].kill()
			f.launch(f.replicas[0])
			f.serving(f.replicas[0])
		}),
	},
	"portal-away": {
		plan:    plan{environ: []string{"CSTPROXY_MINT_RATE=0"}}, // each is tried again, which spends it
		fires:   []string{"CstproxyPortalUnavailable", "CstproxyErrorRatioHigh"},
		traffic: mixed(4),
		fault:   once(func(f *fleet) { f.spoil("all", fault{"kind": "reset"}) }),
	},
	"portal-slow": {
		fires:   []string{"CstproxyPortalSlow"},
		traffic: mixed(10),
		fault:   once(func(f *fleet) { f.spoil("all", fault{"latency": "4s"}) }),
	},
	"portal-429": {
		plan:  plan{environ: []string{"CSTPROXY_MINT_RATE=0"}},
		fires: []string{"CstproxyPortalRateLimited"}, besides: []string{"CstproxyErrorRatioHigh", "CstproxyMintsRefused"},
		traffic: mixed(4),
		fault: once(func(f *fleet) {
			f.spoil("mint", fault{"kind": "status", "status": http.StatusTooManyRequests, "retryAfter": "1"})
		}),
	},
	"key-refused": {
		plan:  plan{environ: []string{"CSTPROXY_MINT_RATE=0"}},
		fires: []string{"CstproxyPortalKeyRefused"}, besides: []string{"CstproxyErrorRatioHigh", "CstproxyMintsRefused"},
		traffic: mixed(4),
		fault: once(func(f *fleet) { // all that the key opens
			for _, operation := range []string{"mint", "read", "list", "register"} {
				f.spoil(operation, fault{"kind": "status", "status": http.StatusUnauthorized})
			}
		}),
	},
	"budget-spent": {
		plan:  plan{environ: []string{"CSTPROXY_MINT_RATE=30/m"}},
		fires: []string{"CstproxyBudgetNearlySpent", "CstproxyMintsRefused"}, besides: []string{"CstproxyErrorRatioHigh"},
		traffic: mixed(2),
	},
	"strangers": {
		plan:    plan{environ: []string{"CSTPROXY_MINT_RATE=0"}},
		fires:   []string{"CstproxyHitRatioLow"},
		traffic: strangers,
	},
	"rejected": {
		plan:  plan{environ: []string{"CSTPROXY_MINT_RATE=0"}},
		fires: []string{"CstproxyTokensRejected"},
		fault: every(0, func(f *fleet) { f.reject(f.replicas[0], "unloved") }),
	},
	"redis-dies": {
		fires: []string{"CstproxyRedisDown"},
		fault: once(func(f *fleet) { f.redis.kill() }),
	},
	"redis-hangs": {
		fires: []string{"CstproxyRedisDown"}, besides: []string{"CstproxyHitsSlow"},
		fault: once(func(f *fleet) { _ = f.redis.command.Process.Signal(syscall.SIGSTOP) }),
	},
	"redis-slow": {
		plan:  plan{environ: []string{"CSTPROXY_MEMORY_TTL=0"}, through: slowly(40 * time.Millisecond)},
		fires: []string{"CstproxyHitsSlow"}, besides: []string{"CstproxyRedisDown"},
	},
	"records-spoiled": {
		plan:  plan{environ: []string{"CSTPROXY_MEMORY_TTL=0", "CSTPROXY_MINT_RATE=0"}},
		fires: []string{"CstproxyRecordsUnreadable"},
		fault: every(2*time.Second, func(f *fleet) { f.spoilRecords() }),
	},
	"passing-fails": {
		plan:  plan{environ: []string{passThrough, "CSTPROXY_REFRESH=observe"}},
		fires: []string{"CstproxyPassthroughFailing"},
		fault: func(f *fleet, n int) {
			if n == 0 {
				f.spoil("probe", fault{"kind": "reset"})
			}
			f.pass(f.replicas[0], few(n))
		},
	},
	"clock-off": {
		plan:  plan{ahead: 30},
		fires: []string{"CstproxyClockSkew"},
	},
	"file-spoiled": {
		fires: []string{"CstproxyReloadFailed"},
		fault: once(func(f *fleet) { f.key("") }),
	},
	"crowd": {
		plan:    plan{environ: []string{"CSTPROXY_MAX_WAITING=4", "CSTPROXY_MINT_RATE=0"}},
		fires:   []string{"CstproxyShedding", "CstproxyErrorRatioHigh"},
		traffic: mixed(2),
		fault:   once(func(f *fleet) { f.spoil("mint", fault{"latency": "2s"}) }),
	},
	"audit-full": {
		plan:  plan{environ: []string{"CSTPROXY_AUDIT=file:/dev/full"}},
		fires: []string{"CstproxyAuditLinesLost"},
	},
	"connections": {
		plan:  plan{environ: []string{"CSTPROXY_MAX_CONNECTIONS=16"}},
		fires: []string{"CstproxyConnectionsDropped"},
		fault: every(0, func(f *fleet) {
			for range 10 {
				idle, err := net.Dial("tcp", f.replicas[0].data)
				if err != nil {
					f.t.Fatal(err)
				}
				f.t.Cleanup(func() { _ = idle.Close() })
			}
		}),
	},
}

// step is how long it is from one step of a fault to the next.
const step = 250 * time.Millisecond

func once(do func(f *fleet)) func(f *fleet, n int) {
	return func(f *fleet, n int) {
		if n == 0 {
			do(f)
		}
	}
}

func every(wait time.Duration, do func(f *fleet)) func(f *fleet, n int) {
	return func(f *fleet, n int) {
		if n%max(1, int(wait/step)) == 0 {
			do(f)
		}
	}
}

// nobody asks. Where a replica is gone callers would only count what they can't reach.
func nobody(int) string { return "" }

// mixed has one of so many requests be for somebody new.
func mixed(one int) func(i int) string {
	return func(i int) string {
		if i%one == 0 {
			return strangers(i)
		}
		return few(i)
	}
}

// reject fetches the client's token, has Portal forget it, and asks for another.
func (f *fleet) reject(r *replica, client string) {
	a := f.fetch(r, client, "")
	f.control(http.MethodPost, "kill", map[string]string{"clientId": client}, nil)
	f.fetch(r, client, "?rejected="+a.token)
}

// spoilRecords writes over every token in Redis.
func (f *fleet) spoilRecords() {
	keys, err := f.redis.do("KEYS", "*:token")
	if err != nil {
		return
	}
	for _, key := range keys {
		_, _ = f.redis.do("SET", key, "junk", "KEEPTTL")
	}
}

func (s scenario) run(t *testing.T, p *prometheus, name string) {
	t.Parallel()
	f := begin(t, name, s.plan)
	p.scrape(t, name, f.admins()...)
	if s.traffic == nil {
		s.traffic = few
	}
	f.drive(t, 10, s.traffic)
	<-time.After(3 * time.Second) // before the fault
	began, fired := time.Now(), []string(nil)
	missing := func(alert string) bool { return !slices.Contains(fired, alert) }
	for n := 0; slices.ContainsFunc(s.fires, missing) && time.Since(began) < patience; n++ {
		if s.fault != nil {
			s.fault(f, n)
		}
		<-time.After(step)
		if n%4 == 0 {
			fired = p.fired(name)
		}
	}
	t.Logf("after %s: %q", time.Since(began).Round(time.Second), fired)
	for _, alert := range slices.DeleteFunc(slices.Clone(s.fires), func(a string) bool { return !missing(a) }) {
		t.Errorf("%s did not fire", alert)
	}
	p.nothingBut(t, name, fired, slices.Concat(s.fires, s.besides))
}

// nothingBut reports alerts that fired and do not follow from the fault.
func (p *prometheus) nothingBut(t *testing.T, name string, fired, follow []string) {
	t.Helper()
	for _, alert := range fired {
		switch isOfScrapes := alert == "CstproxyTargetDown" || alert == "CstproxyNoReplica"; {
		case slices.Contains(follow, alert):
		case isOfScrapes && p.late(name):
			t.Logf("%s fired, since this machine was too busy for a scrape to end within a second", alert)
		default:
			t.Errorf("%s fired, which does not follow from the fault", alert)
		}
	}
}

// late says whether a scrape of the fleet was given up because it took too long.
func (p *prometheus) late(name string) bool {
	return len(p.instant(fmt.Sprintf(`max_over_time(scrape_duration_seconds{job=%q}[1h]) >= 1`, job(name)))) > 0
}

func TestEveryAlertFiresInItsFaultAndNoneInAQuietRun(t *testing.T) {
	t.Parallel()
	p := watch(t, hurry)
	quiet := begin(t, "quiet", plan{replicas: 3})
	p.scrape(t, quiet.name, quiet.admins()...)
	quiet.drive(t, 20, few)
	t.Run("faults", func(t *testing.T) {
		for name, s := range scenarios {
			t.Run(name, func(t *testing.T) { s.run(t, p, name) })
		}
		t.Run("expired", func(t *testing.T) { expired(t, p) })
	})
	if got := p.fired(quiet.name); len(got) > 0 {
		t.Errorf("%q fired in the quiet run", got)
	}
	same(t, "alerts that fired", p.fired(""), alerts(t))
}

// expired has Prometheus scrape what a replica says with one series changed: the product hands out no expired token, whatever
// is done to it.
func expired(t *testing.T, p *prometheus) {
	t.Parallel()
	f := begin(t, "expired", plan{replicas: 1})
	never := regexp.MustCompile(`(?m)^cstproxy_expired_tokens_served_total 0$`)
	scrapes := 0
	stand := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text, err := f.replicas[0].scraped()
		if err != nil || !never.MatchString(text) {
			http.Error(w, "the replica says something else", http.StatusBadGateway)
			return
		}
		scrapes++
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprint(w, never.ReplaceAllString(text, fmt.Sprintf("cstproxy_expired_tokens_served_total %d", min(1, scrapes/5))))
	}))
	t.Cleanup(stand.Close)
	p.scrape(t, "expired", strings.TrimPrefix(stand.URL, "http://"))
	await(t, "CstproxyExpiredTokenServed to fire", func() bool { return slices.Contains(p.fired("expired"), "CstproxyExpiredTokenServed") })
	p.nothingBut(t, "expired", p.fired("expired"), []string{"CstproxyExpiredTokenServed"})
}
