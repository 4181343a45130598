// Command cstbench measures cstproxy, and writes BENCHMARKS.md of what it saw. make bench runs all of it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v3"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root(os.Stdout).Run(ctx, os.Args); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "cstbench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// root is the command line: each part is measured by itself, and leaves its figures in a file that report reads.
func root(out io.Writer) *cli.Command {
	return &cli.Command{
		Name:     "cstbench",
		Usage:    "measure cstproxy",
		Flags:    []cli.Flag{&cli.StringFlag{Name: "results", Value: "cmd/cstbench/results", Usage: "where figures are left and read, a `FOLDER`"}},
		Commands: []*cli.Command{loading(out), reporting(out), server(out)},
	}
}
