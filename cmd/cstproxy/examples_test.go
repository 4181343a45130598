package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"
)

// walk calls visit with each command and its whole name.
func walk(c *cli.Command, path string, visit func(*cli.Command, string)) {
	visit(c, path)
	for _, below := range c.Commands {
		walk(below, path+" "+below.Name, visit)
	}
}

func TestEveryCommandHasExamplesAndNoOtherHas(t *testing.T) {
	t.Parallel()
	commands := map[string]bool{}
	root := process{out: io.Discard, err: io.Discard}.root()
	if err := root.Run(t.Context(), []string{"cstproxy", "version"}); err != nil { // from then on completion is a command
		t.Fatal(err)
	}
	walk(root, root.Name, func(_ *cli.Command, path string) {
		commands[path] = true
		if len(examples[path]) == 0 {
			t.Errorf("%s has none", path)
		}
	})
	for path := range examples {
		if !commands[path] {
			t.Errorf("%s is not a command", path)
		}
	}
}

func TestEveryExampleIsACommandLine(t *testing.T) {
	t.Parallel()
	for path, lines := range examples {
		for _, line := range lines {
			t.Run(line, func(t *testing.T) {
				t.Parallel()
				if got := runs(t, line); got != path && path != "cstproxy" && !strings.HasPrefix(got, path+" ") {
					t.Errorf("it is %q, want %q", got, path)
				}
			})
		}
	}
}

// runs returns the command that a line of a shell would run, without running it.
func runs(t *testing.T, line string) (ran string) {
	t.Helper()
	_, rest, found := strings.Cut(" "+strings.NewReplacer("$(", " ", "(", " ", ")", " ").Replace(line), "cstproxy ")
	if !found {
		t.Fatal("it does not call cstproxy")
	}
	for strings.Contains(rest, "/cstproxy ") {
		_, rest, _ = strings.Cut(rest, "/cstproxy ")
	}
	words := strings.Fields(rest)
	if end := slices.IndexFunc(words, func(word string) bool { return word == "|" || word == ">" }); end >= 0 {
		words = words[:end]
	}
	if words[0] == "completion" {
		return "cstproxy " + strings.Join(words, " ") // it is the library's, and runs for certain in completion.txtar
	}
	root := process{out: io.Discard, err: io.Discard}.root()
	walk(root, root.Name, func(c *cli.Command, path string) {
		c.Action = func(context.Context, *cli.Command) error { ran = path; return nil }
	})
	if err := root.Run(t.Context(), append([]string{"cstproxy"}, words...)); err != nil {
		t.Error(err)
	}
	return ran
}

func TestASlipIsTakenForWhatItIsNear(t *testing.T) {
	t.Parallel()
	names := []string{"serve", "stats", "token"}
	for word, want := range map[string]string{
		"serv": "; did you mean serve?", "sreve": "; did you mean serve?", "t": "; did you mean token?", "tokens": "; did you mean token?",
		"": "", "--": "", "proxy": "", "PORTAL-KEY-4711": "",
	} {
		if got := meant(word, names); got != want && word != "" {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
