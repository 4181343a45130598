package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/cstproxy/cstproxy/proxy"
)

// version and revision are set by the linker: see the Makefile.
var version, revision string //nolint:gochecknoglobals // the linker writes nowhere else

// build returns what this binary was built from, by the linker or else by what the Go toolchain noted.
func build() proxy.Version {
	v := proxy.Version{Version: version, Revision: cmp.Or(revision, "unknown"), GoVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if v.Version == "" {
		v.Version = strings.TrimPrefix(strings.Trim(info.Main.Version, "()"), "v") // it is (devel) without one, which no User-Agent may be
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && revision == "" {
			v.Revision = s.Value
		}
	}
	return v
}

func (p process) version() *cli.Command {
	return &cli.Command{
		Name:         "version",
		Usage:        "print the version",
		Flags:        []cli.Flag{outputFlag()},
		OnUsageError: wrongUsage(),
		Action: alone(func(_ context.Context, c *cli.Command) error {
			v := build()
			if formOf(c) == formJSON {
				return p.printJSON(v)
			}
			_, err := fmt.Fprintf(p.out, "cstproxy %s (revision %s, %s)\n", v.Version, v.Revision, v.GoVersion)
			return err
		}),
	}
}
