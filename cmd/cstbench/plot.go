package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// chart is a chart of horizontal bars, or of lines over a common axis, drawn as SVG that is legible on light and dark pages.
type chart struct {
	Title string
	Unit  string // what the numbers are, below the title
	Bars  []bar
	// Rule is a value that is marked with a line, such as 1 for a ratio; 0 draws none.
	Rule float64
}

// bar is a value with its interval; Low and High may be 0.
type bar struct {
	Label            string
	Value, Low, High float64
}

const (
	chartWidth, labelWidth, valueWidth = 760, 220, 120
	barHeight, barStep, chartTop       = 16, 24, 58
	ink, faint, fill                   = "#6e7781", "#8b949e", "#2f81f7"
)

// svg draws the chart. The same chart is the same text.
func (c chart) svg() string {
	most := c.Rule
	for _, b := range c.Bars {
		most = max(most, b.Value, b.High)
	}
	height := chartTop + len(c.Bars)*barStep + 10
	scale := float64(chartWidth-labelWidth-valueWidth) / max(most, math.SmallestNonzeroFloat64)
	var out strings.Builder
	beginSVG(&out, height, c.Title)
	text(&out, label{x: 10, y: 24, size: 16, anchor: "start", text: c.Title})
	text(&out, label{x: 10, y: 44, size: 12, anchor: "start", text: c.Unit})
	for i, b := range c.Bars {
		b.draw(&out, float64(chartTop+i*barStep), scale)
	}
	if c.Rule > 0 {
		x := labelWidth + c.Rule*scale
		fmt.Fprintf(&out, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-dasharray="3 3"/>`+"\n", x, chartTop-4, x, height-8, ink)
	}
	out.WriteString("</svg>\n")
	return out.String()
}

func beginSVG(out *strings.Builder, height int, title string) {
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui, sans-serif" role="img">`+"\n",
		chartWidth, height, chartWidth, height)
	fmt.Fprintf(out, "<title>%s</title>\n", html.EscapeString(title))
}

type label struct {
	x, y, size float64
	anchor     string
	text       string
}

func text(out *strings.Builder, l label) {
	fmt.Fprintf(out, `<text x="%.1f" y="%.1f" font-size="%.0f" text-anchor="%s" fill="%s">%s</text>`+"\n", l.x, l.y, l.size, l.anchor, ink, html.EscapeString(l.text))
}

func (b bar) draw(out *strings.Builder, top, scale float64) {
	const baseline, size, gap = 12, 12, 8
	middle := top + barHeight/2
	text(out, label{x: labelWidth - gap, y: top + baseline, size: size, anchor: "end", text: b.Label})
	fmt.Fprintf(out, `<rect x="%d" y="%.1f" width="%.1f" height="%d" rx="2" fill="%s"/>`+"\n", labelWidth, top, b.Value*scale, barHeight, fill)
	if b.High > 0 {
		fmt.Fprintf(out, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="2"/>`+"\n",
			labelWidth+b.Low*scale, middle, labelWidth+b.High*scale, middle, faint)
	}
	text(out, label{x: labelWidth + max(b.Value, b.High)*scale + gap, y: top + baseline, size: size, anchor: "start", text: short(b.Value)})
}

// short writes a number with three digits that count.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
