package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// row is a line of a report for people.
type row struct {
	name, text string
	// bad: somebody should look at it.
	bad bool
}

// rows is the report as people read it.
func (r report) rows() []row {
	return slices.Concat([]row{
		{name: "proxy", text: r.proxy()},
		{name: "hit ratio", text: percent(r.Tokens.HitRatio) + " now, " + percent(r.Tokens.HitRatioTotal) + " since the start"},
		{name: "tokens", text: r.Tokens.All.text() + sources(r.Tokens.Sources), bad: r.ExpiredServed.value > 0},
		{name: "requests", text: whole(r.Requests.InFlight) + " in flight, " + r.Requests.Latency.text()},
		{name: "mints", text: listed(r.Mints, slices.Sorted(maps.Keys(r.Mints)))},
		{name: "errors", text: happened(r.Errors), bad: growing(r.Errors)},
	}, r.budgetRows(), r.portalRows(), []row{r.redisRow()})
}

func (r report) proxy() string {
	return fmt.Sprintf("cstproxy %s, up %s, replicas %s, %s", r.Version, span(r.Uptime), whole(r.Replicas), r.Time.Format(time.TimeOnly))
}

func (c counted) text() string {
	return perSecond(c.PerSecond) + " now, " + whole(c.Total) + " since the start"
}

func sources(of map[string]counted) string {
	if len(of) == 0 {
		return ""
	}
	var parts []string
	for _, source := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, source+" "+whole(of[source].Total))
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// listed names counters, with their rates where there are any.
func listed(counts map[string]counted, names []string) string {
	var parts []string
	for _, name := range names {
		part := name + " " + whole(counts[name].Total)
		if counts[name].PerSecond.value > 0 {
			part += " (" + perSecond(counts[name].PerSecond) + ")"
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

// happened names the counters that counted something.
func happened(counts map[string]counted) string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(counts)), func(name string) bool { return counts[name].Total.value == 0 })
	if len(names) == 0 && len(counts) > 0 {
		return "none"
	}
	return listed(counts, names)
}

func growing(counts map[string]counted) bool {
	for _, c := range counts {
		if c.PerSecond.value > 0 {
			return true
		}
	}
	return false
}

func (l latency) text() string {
	return fmt.Sprintf("p50 %s, p99 %s (now %s, %s)", millis(l.P50Total), millis(l.P99Total), millis(l.P50), millis(l.P99))
}

func (r report) budgetRows() []row {
	var rows []row
	for _, class := range slices.Sorted(maps.Keys(r.Budget)) {
		b := r.Budget[class]
		text := fmt.Sprintf("%s left of %s a minute, %s waiting, paused %s, %s refused", whole(b.Left), whole(b.Limit), whole(b.Waiting), span(b.Paused), whole(b.Refusals.Total))
		rows = append(rows, row{name: class + "s left", text: text, bad: b.Paused.value > 0 || b.Left.known && b.Left.value < 1})
	}
	return rows
}

func (r report) portalRows() []row {
	key := "-"
	if r.Portal.KeyValid.known {
		key = map[float64]string{1: "accepted", 0: "REFUSED", -1: "not tried yet"}[r.Portal.KeyValid.value]
	}
	accepted := span(r.Portal.KeyLastSuccess)
	if r.Portal.KeyLastSuccess.known {
		accepted += " ago"
	}
	rows := []row{
		{name: "key", text: key + ", last accepted " + accepted, bad: r.Portal.KeyValid == some(0)},
		{name: "portal", text: "failures: " + happened(r.Portal.Failures), bad: growing(r.Portal.Failures)},
	}
	for _, operation := range slices.Sorted(maps.Keys(r.Portal.Latency)) {
		if l := r.Portal.Latency[operation]; l.P50Total.known {
			rows = append(rows, row{name: "  " + operation, text: l.text()})
		}
	}
	return rows
}

// breakerWords :: state of the breaker → what the row says of Redis; other states speak for themselves.
var breakerWords = map[string]string{"": "-", "none": "none"}

func (r report) redisRow() row {
	breaker := r.Redis.Breaker
	if words, ok := breakerWords[breaker]; ok {
		breaker = words
	}
	up := map[number]string{some(1): "up", some(0): "DOWN", {}: "-"}[r.Redis.Up]
	if r.Redis.Breaker == "none" {
		up = "not used"
	}
	return row{name: "redis", text: up + ", breaker " + breaker, bad: r.Redis.Up == some(0) && r.Redis.Breaker != "none"}
}

func whole(n number) string {
	switch {
	case !n.known:
		return "-"
	case math.IsInf(n.value, 0):
		return "no limit"
	}
	return strconv.FormatFloat(math.Floor(n.value), 'f', -1, 64)
}

func perSecond(n number) string {
	if !n.known {
		return "-"
	}
	return strconv.FormatFloat(n.value, 'f', 1, 64) + "/s"
}

// percent rounds down: a hit ratio that isn't whole must not look so.
func percent(n number) string {
	if !n.known {
		return "-"
	}
	return strconv.FormatFloat(math.Floor(n.value*10_000)/100, 'f', 2, 64) + " %"
}

func millis(n number) string {
	if !n.known {
		return "-"
	}
	return strconv.FormatFloat(n.value*1000, 'f', 1, 64) + " ms"
}

func span(n number) string {
	if !n.known {
		return "-"
	}
	return lifeWords(time.Duration(n.value * float64(time.Second)))
}
