package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// What a terminal does at these (ECMA-48, and xterm's own two for the other screen and the cursor).
const (
	screenEnter = "\x1b[?1049h\x1b[?25l"
	screenLeave = "\x1b[?25h\x1b[?1049l"
	screenHome  = "\x1b[H"
	screenRest  = "\x1b[J"
	lineRest    = "\x1b[K"
	inBold      = "\x1b[1m"
	inRed       = "\x1b[1;31m"
	inPlain     = "\x1b[0m"
)

// nameWidth is that of the longest name of a row, and two more.
const nameWidth = 13

// isDumb reports a terminal that can't move its cursor.
func (p process) isDumb() bool { return slices.Contains(p.environ, "TERM=dumb") }

// paint is how the name of a row is written.
type paint func(row) string

func plain(r row) string { return fmt.Sprintf("%-*s", nameWidth, r.name) }

func colored(r row) string {
	color := inBold
	if r.bad {
		color = inRed
	}
	return color + plain(r) + inPlain
}

// paint returns colors, unless somebody wants none (https://no-color.org).
func (p process) paint() paint {
	wantsNone := func(pair string) bool { return strings.HasPrefix(pair, "NO_COLOR=") && pair != "NO_COLOR=" }
	if slices.ContainsFunc(p.environ, wantsNone) {
		return plain
	}
	return colored
}

func (p process) printReport(r report) error {
	painted := plain
	if _, isTerminal := terminal(p.out); isTerminal && !p.isDumb() {
		painted = p.paint()
	}
	for _, line := range r.rows() {
		if _, err := fmt.Fprintln(p.out, painted(line)+line.text); err != nil {
			return err
		}
	}
	return nil
}

// watchReports draws every report over the one before, on a screen of its own, until ctx ends. What was on the terminal is
// there again then. A proxy that is away is waited for.
func (p process) watchReports(ctx context.Context, looks *looks) error {
	_, _ = fmt.Fprint(p.out, screenEnter)
	defer func() { _, _ = fmt.Fprint(p.out, screenLeave) }()
	shown := compareReadings(looks.last, looks.last)
	note := ""
	for {
		if _, err := fmt.Fprint(p.out, p.frame(shown, note)); err != nil {
			return err
		}
		r, err := looks.next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		note = ""
		if err != nil {
			note, _, _ = strings.Cut(err.Error(), "\n")
			continue
		}
		shown = r
	}
}

// frame is a whole screen, cut to its size. The last line is left alone, for else it would scroll.
func (p process) frame(r report, note string) string {
	size, _ := terminal(p.out)
	painted := p.paint()
	rows := r.rows()
	if note != "" {
		rows = slices.Insert(rows, 0, row{name: "away", text: note, bad: true})
	}
	rows = append(rows, row{text: "Ctrl-C ends it"})
	if size.height > 1 && len(rows) >= size.height {
		rows = rows[:size.height-1]
	}
	var b strings.Builder
	b.WriteString(screenHome)
	for _, line := range rows {
		b.WriteString(painted(line) + cut(line.text, size.width-nameWidth) + lineRest + "\r\n")
	}
	return b.String() + screenRest
}

// cut shortens a text to so many characters. A terminal that doesn't know its width gets all of it.
func cut(text string, width int) string {
	runes := []rune(text)
	switch {
	case width <= -nameWidth || len(runes) <= width:
		return text
	case width < 1:
		return ""
	}
	return string(runes[:width-1]) + "…"
}
