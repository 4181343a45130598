package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"
)

// area is a part of the report: the name of its figures, and what makes its section of them.
type area struct {
	Name   string
	Render func(folder string) (section, error)
}

// areas are in the order of the report.
func areas() []area {
	return []area{
		{areaLoad, rendered(areaLoad, loadFigures.section)},
		{areaMints, rendered(areaMints, mintFigures.section)},
		{areaScale, rendered(areaScale, scaleSection)},
		{areaMicro, renderedMicro},
	}
}

// rendered returns what reads figures of type T, and has them make a section. Without figures it is what no figures make.
func rendered[T any](name string, render func(T) section) func(folder string) (section, error) {
	return func(folder string) (section, error) {
		var figures T
		switch err := load(folder, name, &figures); {
		case errors.Is(err, os.ErrNotExist):
			return unmeasured(render(figures)), nil
		case err != nil:
			return section{}, err
		}
		return render(figures), nil
	}
}

// unmeasured is a section of which nothing is known but what it must show.
func unmeasured(s section) section {
	return section{Title: s.Title, Command: s.Command, Text: "Not measured.", Wants: s.Wants}
}

// reporting is the command that writes the report.
func reporting(out io.Writer) *cli.Command {
	return &cli.Command{
		Name: "report", Usage: "write BENCHMARKS.md, and its plots, of all figures that there are",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "to", Value: "BENCHMARKS.md", Usage: "the `FILE` to write"},
			&cli.StringFlag{Name: "plots", Value: plotFolder, Usage: "the `FOLDER` for plots"},
		},
		Action: func(_ context.Context, c *cli.Command) error {
			r, err := reportOf(c.String("results"))
			if err != nil {
				return err
			}
			if err := r.write(c.String("to"), c.String("plots")); err != nil {
				return err
			}
			held, all := r.held()
			_, _ = fmt.Fprintf(out, "%s: %d of %d that must show do\n", c.String("to"), held, all)
			return nil
		},
	}
}

// plotFolder is where sections find their plots.
const plotFolder = "cmd/cstbench/plots"

// report is all of BENCHMARKS.md.
type report struct{ sections []section }

// reportOf reads whatever figures there are. An area without any has its section all the same: what it must show does not.
func reportOf(folder string) (r report, err error) {
	for _, a := range areas() {
		s, err := a.Render(folder)
		if err != nil {
			return r, err
		}
		r.sections = append(r.sections, s)
	}
	return r, nil
}

const preamble = `# Benchmarks

What cstproxy costs and what it saves, as ` + "`make bench`" + ` measured it. This file is written by ` + "`cstbench report`" + ` from the figures
in ` + "`cmd/cstbench/results`" + `; nothing in it is typed by hand. Times of one machine say little of another, so what counts are ratios of
programs that were measured side by side. Each part has a command of its own:

`

func (r report) markdown() string {
	var out strings.Builder
	out.WriteString(preamble)
	for _, s := range r.sections {
		fmt.Fprintf(&out, "- %s: `%s`\n", s.Title, s.Command)
	}
	held, all := r.held()
	fmt.Fprintf(&out, "\n## What must show\n\n%d of %d hold.\n\n| what | wanted | seen | holds |\n|---|---|---|---|\n", held, all)
	for _, s := range r.sections {
		for _, w := range s.Wants {
			fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", w.What, w.Wanted, w.Seen, w.verdict())
		}
	}
	for _, s := range r.sections {
		fmt.Fprintf(&out, "\n## %s\n\n%s\n", s.Title, strings.TrimSpace(s.Text))
	}
	return out.String()
}

func (w want) verdict() string {
	if w.Holds {
		return "yes"
	}
	return "**no**"
}

// held is how many of all wants hold.
func (r report) held() (held, all int) {
	for _, s := range r.sections {
		all += len(s.Wants)
		held += len(slices.DeleteFunc(slices.Clone(s.Wants), func(w want) bool { return !w.Holds }))
	}
	return held, all
}

// plots are all that sections have: NAME.svg -> document.
func (r report) plots() map[string]string {
	all := map[string]string{}
	for _, s := range r.sections {
		for name, document := range s.Plots {
			all[name+".svg"] = document
		}
	}
	return all
}

func (r report) write(to, folder string) error {
	if err := os.WriteFile(to, []byte(r.markdown()), 0o644); err != nil { //nolint:gosec // anybody may read it
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // likewise
		return fmt.Errorf("make the folder of plots: %w", err)
	}
	plots := r.plots()
	for _, name := range slices.Sorted(maps.Keys(plots)) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(plots[name]), 0o644); err != nil { //nolint:gosec // likewise
			return fmt.Errorf("write a plot: %w", err)
		}
	}
	return nil
}
