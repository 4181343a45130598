package observe

import (
	"fmt"
	"html"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

// plotted are the panels of the dashboard that the plot has, row by row.
var plotted = []string{
	"Hit ratio", "Tokens by source",
	"Mints by reason", "Errors by code",
	"Budget left", "Failures by kind",
	"Answers, 99 in 100 are faster", "Redis up",
}

// drawing is a plot of panels over the same time, with what was wrong shaded. It has colors for a light page and a dark one.
type drawing struct {
	began, ended time.Time
	phases       []phase
	graphs       []graph
}

type graph struct {
	title, unit string
	max         float64
	lines       []line
}

type line struct {
	name   string
	points []point
}

// Sizes, in pixels.
const (
	graphWidth, graphHeight = 452, 158
	left, right             = 46, 12 // beside the plot
	top, bottom             = 52, 18 // above and below it
	head                    = 50
)

var fields = regexp.MustCompile(`\{\{(\w+)\}\}`)

// add draws what a panel shows. Lines that are 0 all along are left out, unless all are.
func (d *drawing) add(p panel, ask func(query string) []series) {
	g := graph{title: p.Title, unit: p.FieldConfig.Defaults.Unit}
	if p.FieldConfig.Defaults.Max != nil {
		g.max = *p.FieldConfig.Defaults.Max
	}
	for _, target := range p.Targets {
		for _, s := range ask(target.Expr) {
			name := fields.ReplaceAllStringFunc(target.LegendFormat, func(field string) string { return s.labels[fields.FindStringSubmatch(field)[1]] })
			g.lines = append(g.lines, line{name, s.points})
		}
	}
	slices.SortStableFunc(g.lines, func(a, b line) int { return strings.Compare(a.name, b.name) })
	idle := func(l line) bool { return !slices.ContainsFunc(l.points, func(p point) bool { return p.value != 0 }) }
	if moving := slices.DeleteFunc(slices.Clone(g.lines), idle); len(moving) > 0 {
		g.lines = moving
	}
	d.graphs = append(d.graphs, g)
}

func (d *drawing) svg() string {
	var b strings.Builder
	rows := (len(d.graphs) + 1) / 2
	width, height := 2*graphWidth, head+rows*graphHeight+8
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img" aria-labelledby="t">`+"\n", width, height)
	b.WriteString(`<title id="t">A scripted day of three replicas: hit ratio, tokens, mints, errors, budget, Portal's failures, latency and Redis</title>` + "\n")
	b.WriteString(style)
	fmt.Fprintf(&b, `<rect class="page" width="%d" height="%d"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text class="title" x="%d" y="22">A scripted day: three replicas, one Redis, a simulated Portal</text>`+"\n", 14)
	fmt.Fprintf(&b, `<text class="note" x="%d" y="39">Compressed to %.0f seconds, as Prometheus scraped and recorded it. Shaded: what was wrong.</text>`+"\n", 14, d.ended.Sub(d.began).Seconds())
	for i, g := range d.graphs {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%2*graphWidth, head+i/2*graphHeight)
		d.graph(&b, g)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

const style = `<style>
  .page { fill: #ffffff } .title { font: 600 15px sans-serif; fill: #1f2328 } .note, .tick, .phase { font: 11px sans-serif; fill: #59636e }
  .name { font: 600 12px sans-serif; fill: #1f2328 } .key { font: 11px sans-serif; fill: #1f2328 } .grid { stroke: #d1d9e0 }
  .wrong { fill: #eaeef2 } .line { fill: none; stroke-width: 1.6; stroke-linejoin: round }
  .c0 { stroke: #0969da } .c1 { stroke: #bc4c00 } .c2 { stroke: #1a7f37 } .c3 { stroke: #8250df } .c4 { stroke: #bf3989 } .c5 { stroke: #6e7781 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .title, .name, .key { fill: #f0f6fc } .note, .tick, .phase { fill: #9198a1 } .grid { stroke: #30363d } .wrong { fill: #212830 }
    .c0 { stroke: #58a6ff } .c1 { stroke: #f0883e } .c2 { stroke: #3fb950 } .c3 { stroke: #bc8cff } .c4 { stroke: #ff7bbd } .c5 { stroke: #9198a1 }
  }
</style>
`

func (d *drawing) x(at time.Time) float64 {
	return left + (graphWidth-left-right)*at.Sub(d.began).Seconds()/d.ended.Sub(d.began).Seconds()
}

// graph draws one panel.
func (d *drawing) graph(b *strings.Builder, g graph) {
	ceiling := g.ceiling()
	y := func(value float64) float64 {
		return top + (graphHeight-top-bottom)*(1-min(value, ceiling)/ceiling)
	}
	for _, p := range d.phases {
		if !p.isWrong {
			continue
		}
		from, to := d.x(p.begin), d.x(p.end)
		fmt.Fprintf(b, `<rect class="wrong" x="%.1f" y="%d" width="%.1f" height="%d"/>`+"\n", from, top, to-from, graphHeight-top-bottom)
	}
	for _, part := range []float64{0, .5, 1} {
		at := y(ceiling * part)
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1fH%d"/><text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, at, graphWidth-right, left-5, at+4, tick(ceiling*part, g.unit))
	}
	for seconds := 0.0; seconds < d.ended.Sub(d.began).Seconds(); seconds += 20 {
		at := d.x(d.began.Add(time.Duration(seconds) * time.Second))
		fmt.Fprintf(b, `<text class="tick" x="%.1f" y="%d" text-anchor="middle">%.0f s</text>`+"\n", at, graphHeight-4, seconds)
	}
	fmt.Fprintf(b, `<text class="name" x="14" y="16">%s</text>`+"\n", html.EscapeString(g.title))
	key := left
	for i, l := range g.lines {
		color := fmt.Sprintf("c%d", i%6)
		fmt.Fprintf(b, `<path class="line %s" d="%s"/>`+"\n", color, d.path(l, y))
		if len(g.lines) > 1 {
			fmt.Fprintf(b, `<path class="line %s" d="M%d 28h12"/><text class="key" x="%d" y="32">%s</text>`+"\n", color, key, key+16, html.EscapeString(l.name))
			key += 34 + 6*len(l.name)
		}
	}
	for _, p := range d.phases {
		fmt.Fprintf(b, `<text class="phase" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", (d.x(p.begin)+d.x(p.end))/2, top-5, html.EscapeString(p.name))
	}
}

// path leaves a gap where there is no value.
func (d *drawing) path(l line, y func(float64) float64) string {
	var b strings.Builder
	var last time.Time
	for _, p := range l.points {
		move := "L"
		if p.at.Sub(last) > 1500*time.Millisecond {
			move = "M"
		}
		last = p.at
		fmt.Fprintf(&b, "%s%.1f %.1f", move, d.x(p.at), y(p.value))
	}
	return b.String()
}

// ceiling is the round number that the axis ends with.
func (g graph) ceiling() float64 {
	if g.max > 0 {
		return g.max
	}
	most := 0.0
	for _, l := range g.lines {
		for _, p := range l.points {
			most = max(most, p.value)
		}
	}
	if most == 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(most)))
	for _, times := range []float64{1, 2, 4, 5, 10} {
		if most <= unit*times {
			return unit * times
		}
	}
	return unit * 10
}

func tick(value float64, unit string) string {
	number := fmt.Sprintf("%.3g", value)
	switch {
	case unit == "percentunit":
		return fmt.Sprintf("%.3g %%", value*100)
	case unit == "s" && value > 0 && value < 1:
		return fmt.Sprintf("%.3g ms", value*1000)
	case unit == "s":
		return number + " s"
	case unit == "reqps":
		return number + "/s"
	}
	return number
}
