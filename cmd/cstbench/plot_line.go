package main

import (
	"fmt"
	"math"
	"strings"
)

// curves are lines over a common logarithmic axis, such as a cost by the number of clients.
type curves struct {
	Title, Unit string
	// X are where the lines have points, from small to large and above 0.
	X      []float64
	XLabel func(float64) string
	Lines  []curve
}

// curve is one of the lines: as many values as there are X.
type curve struct {
	Label string
	Y     []float64
}

const (
	plotHeight, plotLeft, plotRight = 320, 60, 560
	plotTop, plotBottom             = 64, 280
)

// strokes are told apart by those who see no colors, by their dashes.
var strokes = []struct{ color, dash string }{
	{"#2f81f7", "none"}, {"#d29922", "6 3"}, {"#3fb950", "2 3"}, {"#f85149", "8 3 2 3"}, {"#a371f7", "1 4"}, {"#8b949e", "12 4"},
}

// svg draws the curves from 0 on. The same curves are the same text.
func (c curves) svg() string {
	var out strings.Builder
	beginSVG(&out, plotHeight, c.Title)
	text(&out, label{x: 10, y: 24, size: 16, anchor: "start", text: c.Title})
	text(&out, label{x: 10, y: 44, size: 12, anchor: "start", text: c.Unit})
	top := c.top()
	for i := range 5 {
		c.rung(&out, top, float64(i)/4)
	}
	for _, x := range c.X {
		text(&out, label{x: c.across(x), y: plotBottom + 20, size: 12, anchor: "middle", text: c.XLabel(x)})
	}
	for i, line := range c.Lines {
		c.line(&out, i, line)
	}
	out.WriteString("</svg>\n")
	return out.String()
}

func (c curves) top() float64 {
	most := math.SmallestNonzeroFloat64
	for _, line := range c.Lines {
		for _, y := range line.Y {
			most = max(most, y)
		}
	}
	return most * 1.1
}

// across is where x lies.
func (c curves) across(x float64) float64 {
	first, last := math.Log(c.X[0]), math.Log(c.X[len(c.X)-1])
	if first == last {
		return plotLeft
	}
	return plotLeft + (plotRight-plotLeft)*(math.Log(x)-first)/(last-first)
}

// rung is a line across, and what it stands for.
func (c curves) rung(out *strings.Builder, top, part float64) {
	y := plotBottom - part*(plotBottom-plotTop)
	fmt.Fprintf(out, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="%s" stroke-opacity="0.35"/>`+"\n", plotLeft, y, plotRight, y, faint)
	text(out, label{x: plotLeft - 6, y: y + 4, size: 12, anchor: "end", text: short(top * part)})
}

func (c curves) line(out *strings.Builder, i int, line curve) {
	stroke, top := strokes[i%len(strokes)], c.top()
	points := make([]string, 0, len(line.Y))
	for j, y := range line.Y {
		points = append(points, fmt.Sprintf("%.1f,%.1f", c.across(c.X[j]), plotBottom-y/top*(plotBottom-plotTop)))
	}
	fmt.Fprintf(out, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`+"\n", strings.Join(points, " "), stroke.color, stroke.dash)
	y := float64(plotTop + 18*i)
	fmt.Fprintf(out, `<line x1="580" y1="%.1f" x2="604" y2="%.1f" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`+"\n", y, y, stroke.color, stroke.dash)
	text(out, label{x: 610, y: y + 4, size: 12, anchor: "start", text: line.Label})
}
