package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/cstproxy/cstproxy/proxy/caller"
)

func (p process) key() *cli.Command {
	return &cli.Command{
		Name:         "key",
		Usage:        "make keys for callers",
		Commands:     []*cli.Command{p.newKey()},
		OnUsageError: wrongUsage(),
		Action:       wanting,
	}
}

func (p process) newKey() *cli.Command {
	return &cli.Command{
		Name:         "new",
		Usage:        "print a new key for the caller NAME, and what the callers file needs of it",
		ArgsUsage:    "NAME",
		Flags:        []cli.Flag{outputFlag()},
		OnUsageError: wrongUsage(),
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Len() != 1 || !caller.IsName(c.Args().First()) {
				return usageError{fmt.Errorf("new takes the name of one caller (%s); see %s --help", caller.NameAllowed, c.FullName())}
			}
			if formOf(c) == formJSON {
				key, line := caller.NewKey()
				return p.printJSON(newKey{Name: c.Args().First(), Key: key, Hash: line})
			}
			return p.printKey(c.Args().First())
		},
	}
}

// newKey is a caller's key in JSON: the key is the caller's, its hash the callers file's.
type newKey struct {
	Name string `json:"name"`
	Key  string `json:"key"`
	Hash string `json:"hash"`
}

// printKey prints what is a callers file as it stands: the key itself is a comment, which is the caller's to keep.
func (p process) printKey(name string) error {
	key, line := caller.NewKey()
	_, err := fmt.Fprintf(p.out, `# The key of %[1]s. It is shown this once and kept nowhere: hand it to %[1]s, who sends
#   Authorization: Bearer %[2]s
# This goes into the file that CSTPROXY_CALLERS_FILE names; narrow routes and clients to what %[1]s needs. To rotate, add
# the new line beside the old one under keys, move %[1]s to the new key, and take the old line out.
callers:
  - name: %[1]s
    keys: ["%[3]s"]
    routes: [token, forget, activity, inspect]
    clients: ["*"]
`, name, key, line)
	return err
}
