package main

// section is the part of BENCHMARKS.md about one area. It is made of the area's figures alone, so that the report can be made
// again, and held to what is committed, without measuring.
type section struct {
	Title string
	// Command is what measures it.
	Command string
	// Text is Markdown below the title. It shows a plot by its path: ![…](cmd/cstbench/plots/NAME.svg).
	Text string
	// Wants are what must hold; the report has them all in one table.
	Wants []want
	// Plots are SVG documents: NAME without ending -> document.
	Plots map[string]string
}

// want is something that must hold, and whether it does.
type want struct {
	What   string // "memory hit, requests/s, 16 connections"
	Wanted string // "≥ 0.90 × the floor"
	Seen   string // "0.93 (0.92 to 0.94)"
	Holds  bool
}

// missing is a want of which nothing was measured: it is counted, and does not hold.
func missing(what, wanted string) want { return want{What: what, Wanted: wanted, Seen: "not measured"} }
