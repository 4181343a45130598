package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/urfave/cli/v3"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitMisuse = 2 // wrong usage or configuration
)

// process is all that a command has of the world, so that a test can be one.
type process struct {
	args    []string
	environ []string
	out     io.Writer
	err     io.Writer
	// clock is this machine's.
	clock func() time.Time
}

// usageError is a command line that makes no sense.
type usageError struct{ error }

// run carries the command line out and returns the exit code. It ends when ctx does.
func run(ctx context.Context, p process) int {
	err := p.root().Run(ctx, p.args)
	if err == nil {
		return exitDone
	}
	_, _ = fmt.Fprintln(p.err, err)
	if _, ok := errors.AsType[configError](err); ok {
		return exitMisuse
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitMisuse
	}
	return exitFailed
}

func (p process) root() *cli.Command {
	root := &cli.Command{
		Name:  "cstproxy",
		Usage: "keep one live Client Session Token per Portal client, and mint only when it can't be refreshed",
		Description: "Settings are flags or environment variables; a flag wins. Secrets are variables, or files named by " +
			"the variable's _FILE companion, and never flags. Try `cstproxy demo` first: it needs no setting.",
		Commands: []*cli.Command{
			p.serve(), p.demo(), p.simulate(), p.check(), p.config(), p.healthcheck(), p.stats(), p.token(), p.key(), p.sealKey(), p.version(),
		},
		HideHelpCommand: true,
		Writer:          p.out,
		ErrWriter:       p.err,
		Action:          misused,
		OnUsageError:    wrongUsage(),
		ExitErrHandler:  func(context.Context, *cli.Command, error) {}, // run decides

		EnableShellCompletion:           true,
		ConfigureShellCompletionCommand: p.completion,
	}
	prepare(root, root.Name)
	return root
}

// prepare has each command below say by what examples it is used, and complete its words.
func prepare(c *cli.Command, path string) {
	c.ShellComplete = complete
	c.Description = strings.TrimSpace(c.Description + "\n\n" + exampleText(path))
	for _, below := range c.Commands {
		prepare(below, path+" "+below.Name)
	}
}

// wrongUsage keeps the library from printing its own page around a mistake.
func wrongUsage() cli.OnUsageErrorFunc {
	return func(_ context.Context, c *cli.Command, err error, _ bool) error { return misusedFlag(c, err) }
}

const flagDashes = "--"

// misusedFlag says what is wrong with a flag, and which was meant.
func misusedFlag(c *cli.Command, err error) error {
	var names []string
	for _, f := range c.Flags {
		names = append(names, flagDashes+f.Names()[0])
	}
	_, flag, _ := strings.Cut(err.Error(), "flag provided but not defined: -")
	return usageError{fmt.Errorf("%s: %s%s; see %s --help", c.Name, withoutValue(err.Error()), meant(flagDashes+flag, names), c.FullName())}
}

// withoutValue takes a flag's value out of what the library says of it, if it may be a secret in the wrong place.
func withoutValue(said string) string {
	after, isValue := strings.CutPrefix(said, "invalid value ")
	quoted, err := strconv.QuotedPrefix(after)
	if !isValue || err != nil {
		return said
	}
	value, _ := strconv.Unquote(quoted)
	return strings.ReplaceAll(said, quoted, showWord(value))
}

// misused is the root's own action: there is no command without a name.
func misused(_ context.Context, c *cli.Command) error {
	if c.Args().Present() {
		return unknownCommand(c)
	}
	_ = cli.ShowRootCommandHelp(c)
	return usageError{errors.New("a command is wanted")}
}

// wanting is the action of a command that is nothing without one of its own.
func wanting(_ context.Context, c *cli.Command) error {
	if c.Args().Present() {
		return unknownCommand(c)
	}
	return usageError{fmt.Errorf("%s wants a command; see %s --help", c.Name, c.FullName())}
}

func unknownCommand(c *cli.Command) error {
	var names []string
	for _, below := range c.Commands {
		names = append(names, below.Name)
	}
	word := c.Args().First()
	return usageError{fmt.Errorf("%s is not a command%s; see %s --help", showWord(word), meant(word, names), c.FullName())}
}

// meant says which of the names the word is the beginning or a slip of, if there is one.
func meant(word string, names []string) string {
	best, least := "", len(word)/3+2
	for _, name := range names {
		distance := levenshtein.ComputeDistance(word, name)
		if strings.HasPrefix(name, word) {
			distance = 0
		}
		if distance < least {
			best, least = name, distance
		}
	}
	if best == "" || word == flagDashes {
		return ""
	}
	return "; did you mean " + best + "?"
}

// longestWord is more than any command's name has, and less than any key.
const longestWord = 16

// showWord returns a word of the command line as a message may show it: what is too long to be a mistyped command may
// be a secret in the wrong place.
func showWord(word string) string {
	if len(word) > longestWord {
		return session.NewSecret(word).String()
	}
	return strconv.Quote(word)
}

// alone refuses arguments, which no command takes.
func alone(action cli.ActionFunc) cli.ActionFunc {
	return func(ctx context.Context, c *cli.Command) error {
		if c.Args().Present() {
			return usageError{fmt.Errorf("%s takes no arguments, got %s; see %s --help", c.Name, showWord(c.Args().First()), c.FullName())}
		}
		return action(ctx, c)
	}
}

// configured gives an action that takes no arguments the configuration.
func (p process) configured(action func(context.Context, Config) error) cli.ActionFunc {
	return alone(func(ctx context.Context, c *cli.Command) error {
		config, err := loadConfig(p.environ, givenFlags(c))
		if err != nil {
			return err
		}
		return action(ctx, config)
	})
}
