package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

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
	return &cli.Command{
		Name:  "cstproxy",
		Usage: "keep one live Client Session Token per Portal client, and mint only when it can't be refreshed",
		Description: "Settings are flags or environment variables; a flag wins. Secrets are variables, or files named by " +
			"the variable's _FILE companion, and never flags. Try `cstproxy demo` first: it needs no setting.",
		Commands: []*cli.Command{
			p.serve(), p.demo(), p.simulate(), p.check(), p.healthcheck(), p.key(), p.sealKey(), p.version(),
		},
		HideHelpCommand: true,
		Suggest:         true,
		Writer:          p.out,
		ErrWriter:       p.err,
		Action:          misused,
		OnUsageError:    wrongUsage(),
		ExitErrHandler:  func(context.Context, *cli.Command, error) {}, // run decides
	}
}

// wrongUsage keeps the library from printing its own page around a mistake.
func wrongUsage() cli.OnUsageErrorFunc {
	return func(_ context.Context, c *cli.Command, err error, _ bool) error {
		return usageError{fmt.Errorf("%s: %w; see %s --help", c.Name, err, c.FullName())}
	}
}

// misused is the root's own action: there is no command without a name.
func misused(_ context.Context, c *cli.Command) error {
	if c.Args().Present() {
		return usageError{fmt.Errorf("%s is not a command; see cstproxy --help", showWord(c.Args().First()))}
	}
	_ = cli.ShowRootCommandHelp(c)
	return usageError{errors.New("a command is wanted")}
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
