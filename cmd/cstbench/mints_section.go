package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// mostMints is how many times the optimum's mints daily users may cost.
const mostMints = 1.02

// mintsCommand is the one of make bench, but for where it leaves its figures.
const mintsCommand = "go test -timeout 60m ./cmd/cstbench -run '^TestMintCost$' -mints full -results results"

const mintsMethod = `A discrete-event simulation of a month or so: the proxy's own broker, memory tier, budget and policy, before a simulated Portal
that goes by Portal's rules (24 h idle, 7 days in all, 200 requests in any minute for mints and as many for probes), in a bubble in which
time passes as fast as it can be simulated. The replicas share a store in memory in the place of Redis, and one count of requests; a sample
(1,000 daily users, ` + "`TestMintsAreThoseOfRedisAndOfPortal`" + `, which ` + "`make bench`" + ` runs too) is held to a real Redis, whose clock goes with the bubble's, and to the simulated Portal over HTTP: the mints are the same.
Only what the proxy asks of Portal extends a token here: what devices do with it would, too, but nobody counts on that.

- **daily**: one to four usual times of the day, in three time zones, most of them in the evening; each is kept within some three quarters of an
  hour, missed one time in ten, and now and then there is a visit at another time. A visit is two fetches on average.
- **weekly**: a visit or so a week. **bursty**: some ten fetches within hours, then half a day of silence and three days more on average.
- **launch**: all come for the first time within one hour, and are daily users from then on, with a usual time in that hour.

The optimum knows all fetches to come: nobody who asks Portal only when there is a fetch can do with fewer mints. Mints are counted per user-week
in which there is a fetch, of whole weeks.
`

// section renders the mint cost.
func (f mintFigures) section() section {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n\n%s\n", f.Machine.text(), mintsMethod)
	f.costs(&out)
	f.requests(&out)
	f.launches(&out)
	return section{Title: "Mint cost", Command: mintsCommand, Text: out.String(), Wants: f.wants(), Plots: f.plots()}
}

// perWeek returns mints per active user-week.
func (r mintRun) perWeek(mints int64) float64 { return float64(mints) / float64(max(r.UserWeeks, 1)) }

// overOptimum returns the proxy's mints by the optimum's, of all days.
func (r mintRun) overOptimum() float64 { return float64(r.All.Proxy) / float64(max(r.All.Optimum, 1)) }

func (r mintRun) title() string {
	title := fmt.Sprintf("%s, %s clients, %d days, %s", r.Pattern, grouped(int64(r.Clients)), r.Days, plural(r.Replicas, "replica"))
	if r.AheadHours > 0 {
		title += fmt.Sprintf(", ahead %gh", r.AheadHours)
	}
	return title
}

func plural(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

// grouped writes a count in groups of three digits.
func grouped(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}

func (f mintFigures) costs(out *strings.Builder) {
	out.WriteString("\n| mints per active user-week | at every login | each 24 h | cstproxy | optimum | cstproxy / optimum |\n|---|--:|--:|--:|--:|--:|\n")
	for _, r := range f.Runs {
		w := r.Weeks
		fmt.Fprintf(out, "| %s | %.2f | %.2f | %.2f | %.2f | %.4f |\n",
			r.title(), r.perWeek(w.Login), r.perWeek(w.Cached), r.perWeek(w.Proxy), r.perWeek(w.Optimum), r.overOptimum())
	}
	out.WriteString("\n![Mints per user-week](cmd/cstbench/plots/mints.svg)\n")
}

func (f mintFigures) requests(out *strings.Builder) {
	out.WriteString("\n| | fetches | mints, by reason | probes per user-day | expired tokens handed out | 429s of Portal | told to come again | waited over 1 s | longest wait |\n|---|--:|---|--:|--:|--:|--:|--:|--:|\n")
	for _, r := range f.Runs {
		fmt.Fprintf(out, "| %s | %s | %s | %.2f | %d | %d | %s | %s | %s |\n", r.title(), grouped(r.Fetches), r.reasons(),
			float64(r.Probes)/float64(max(r.UserDays, 1)), r.Expired, r.Over, grouped(r.Deferred), grouped(r.Waits.overASecond()), r.Waits.longest())
	}
}

func (r mintRun) reasons() string {
	var all []string
	for _, reason := range slices.Sorted(maps.Keys(r.Reasons)) {
		all = append(all, fmt.Sprintf("`%s` %s", reason, grouped(r.Reasons[reason])))
	}
	return strings.Join(all, ", ")
}

func (w waitCounts) longest() string { return fmt.Sprintf("%.2g s", w.LongestSeconds) }

func (f mintFigures) launches(out *strings.Builder) {
	out.WriteString("\nThe day on which the first windows of a launch close, from 12 hours before to 12 hours after the hour of the launch. " +
		"The launch itself is more than the budget has for an hour, and takes longer: most of the waits above are those of that day.\n" +
		"\n| launch, day 7 | fetches | mints | most in an hour | waited over 1 s | longest wait |\n|---|--:|--:|--:|--:|--:|\n")
	for _, r := range f.Runs {
		if day := r.Renewal; day != nil {
			fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s |\n", r.title(), grouped(day.Fetches), grouped(day.mints()), grouped(slices.Max(day.Mints)),
				grouped(day.Waits.overASecond()), day.Waits.longest())
		}
	}
	out.WriteString("\n![Mints on day 7 of a launch](cmd/cstbench/plots/launch.svg)\n")
}

func (d *renewal) mints() (sum int64) {
	for _, n := range d.Mints {
		sum += n
	}
	return sum
}
