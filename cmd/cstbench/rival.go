package main

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

const (
	// rivalsFolder is where .tools/rivals/install leaves their programs.
	rivalsFolder = "bin/rivals"
	// documentPrefix goes before a client's id in the keys of Redis.
	documentPrefix = "document:"
)

// rivalFiles are the templates of what they are configured with.
//
//go:embed rivals
var rivalFiles embed.FS

// rival is a contender that is not of this repository. It reaches Redis by TCP, as cstproxy does in the same world.
type rival struct {
	contender
	// Title names it in tables.
	Title string
	// Version says what was measured.
	Version func(ctx context.Context) (string, error)
	// Note compares it with cstproxy, in a paragraph for BENCHMARKS.md.
	Note string
}

// rivals are all that there are. Callers come by TCP, and by a Unix socket to what may stand beside them on one machine.
func rivals() []rival {
	return []rival{
		nginxRival("redis", "tcp"), nginxRival("dict", "tcp"), nginxRival("cache", "tcp"),
		nginxRival("redis", "unix"), nginxRival("dict", "unix"), nginxRival("cache", "unix"),
		nodeRival(1), nodeRival(2),
		oauth2Rival(), manyRival(nginxRival("redis", "tcp")),
	}
}

// manyRival is asked for many clients.
func manyRival(r rival) rival {
	r.Name, r.Title, r.Start = r.Name+many, r.Title+", many clients", askedForMany(r.Start)
	return r
}

// notesOf tells what all contenders are.
func notesOf(ctx context.Context) []note {
	all := slices.Clone(ownNotes)
	for _, r := range rivals() {
		version, err := r.Version(ctx)
		if r.Missing() != "" || err != nil || strings.HasSuffix(r.Name, overUnix) || strings.HasSuffix(r.Name, many) {
			continue
		}
		all = append(all, note{Name: r.Name, Version: version, Text: r.Title + ": " + r.Note})
	}
	return all
}

// rivalContenders are the same, as those that measure take them.
func rivalContenders() (all []contender) {
	for _, r := range rivals() {
		all = append(all, r.contender)
	}
	return all
}

// notInstalled says which of the files is not there, and how to get it.
func notInstalled(files ...string) string {
	for _, file := range files {
		if _, err := os.Stat(filepath.Join(rivalsFolder, file)); err != nil {
			return filepath.Join(rivalsFolder, file) + " is not there; .tools/rivals/install fetches it where it can"
		}
	}
	return ""
}

// installed is the absolute path of a file of the rivals'.
func installed(file string) (string, error) {
	path, err := filepath.Abs(filepath.Join(rivalsFolder, file))
	if err != nil {
		return "", fmt.Errorf("find %s: %w", file, err)
	}
	return path, nil
}

// answering returns the running rival once it answers. Where it does not it is ended.
func (p *process) answering(ctx context.Context, at target) (*running, error) {
	err := p.await(ctx, func() bool { _, err := fetch(ctx, at); return err == nil })
	if err != nil {
		_ = p.Stop() // there is a worse error
		return nil, err
	}
	return &running{Target: at, Processes: []int{p.Pid}, Stop: p.Stop}, nil
}

// render writes a template of rivals/, and what is in it, to a file that is the account's alone.
func render(file, from string, data any) error {
	text, err := expand(from, data)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}

func expand(from string, data any) (string, error) {
	parsed, err := template.ParseFS(rivalFiles, "rivals/"+from)
	if err != nil {
		return "", fmt.Errorf("read the template %s: %w", from, err)
	}
	var text strings.Builder
	if err := parsed.Execute(&text, data); err != nil {
		return "", fmt.Errorf("fill in %s: %w", from, err)
	}
	return text.String(), nil
}
