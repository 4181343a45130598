package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v3"

	"github.com/cstproxy/cstproxy/cache"
)

// step is one step of a rotation.
type step struct {
	flag, usage string
	edit        func(keyset []byte) ([]byte, error)
	next        string
}

// steps are those of a rotation, in their order. Between two of them every replica must have the file that the first wrote.
func steps() []step {
	return []step{
		{
			flag: "add", usage: "add a new key, which opens and does not seal yet", edit: cache.AddKey,
			next: "added a key; once every replica has the file, go on with --promote",
		},
		{
			flag: "promote", usage: "have the newest key seal", edit: cache.PromoteKey,
			next: "promoted the newest key; what is read is sealed anew with it; once every replica has the file and " +
				"CSTPROXY_REFRESH_WINDOW is over, go on with --retire (sooner, a client that was not read since costs a mint)",
		},
		{
			flag: "retire", usage: "drop the keys before the one that seals", edit: cache.RetireKeys,
			next: "retired the keys before the one that seals; nothing opens any more what they sealed",
		},
	}
}

func (p process) sealKey() *cli.Command {
	rotate := &cli.Command{
		Name:         "rotate",
		Usage:        "take one step of a rotation in a file of seal keys; it prints no key",
		ArgsUsage:    "FILE",
		OnUsageError: wrongUsage(),
		Action:       p.rotateSealKey,
	}
	for _, s := range steps() {
		rotate.Flags = append(rotate.Flags, &cli.BoolFlag{Name: s.flag, Usage: s.usage})
	}
	rotate.Flags = append(rotate.Flags, outputFlag())
	return &cli.Command{
		Name:         "seal-key",
		Usage:        "make and rotate the keys that encrypt what is kept in Redis",
		OnUsageError: wrongUsage(),
		Action:       wanting,
		Commands: []*cli.Command{{
			Name:         "new",
			Usage:        "print a new file of seal keys, for CSTPROXY_SEAL_KEYS_FILE: keep it from everybody else",
			OnUsageError: wrongUsage(),
			Action: alone(func(context.Context, *cli.Command) error {
				content, err := cache.NewKeyset()
				if err == nil {
					_, err = p.out.Write(content)
				}
				return err
			}),
		}, rotate},
	}
}

func (p process) rotateSealKey(_ context.Context, c *cli.Command) error {
	chosen, err := chosenStep(c)
	if err != nil {
		return err
	}
	if c.Args().Len() != 1 {
		return usageError{fmt.Errorf("%s takes one file; see %s --help", c.Name, c.FullName())}
	}
	if err := rewrite(c.Args().First(), chosen.edit); err != nil {
		return err
	}
	if formOf(c) == formJSON {
		return p.printJSON(stepTaken{Step: chosen.flag, Next: chosen.next})
	}
	_, err = fmt.Fprintln(p.out, chosen.next)
	return err
}

// stepTaken is a step of a rotation in JSON.
type stepTaken struct {
	Step string `json:"step"`
	Next string `json:"next"`
}

func chosenStep(c *cli.Command) (step, error) {
	var chosen []step
	for _, s := range steps() {
		if c.Bool(s.flag) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) != 1 {
		return step{}, usageError{errors.New("one of --add, --promote and --retire is wanted")}
	}
	return chosen[0], nil
}

// showFile returns the name of a file that is not there, unless it may be a key in its place.
func showFile(name string) string {
	if isPlainlyPath(name) {
		return name
	}
	return showWord(name)
}

// rewrite replaces a file at once: whoever reads it meanwhile finds the old content or the new. No one else may read it.
func rewrite(file string, edit func([]byte) ([]byte, error)) error {
	path, err := filepath.EvalSymlinks(file)
	if err != nil {
		return fmt.Errorf("%s: %w", showFile(file), withoutPath(err))
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if content, err = edit(content); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	draft, err := os.CreateTemp(filepath.Dir(path), ".seal-keys-*") // 0600 from the start
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(draft.Name()) }() // it is gone if all went well
	_, err = draft.Write(content)
	if err = errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return err
	}
	return os.Rename(draft.Name(), path)
}
