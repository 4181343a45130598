package main

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path/filepath"
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

// rival is a contender that is not of this repository. It asks Redis over TCP, as cstproxy does in the same world.
type rival struct {
	contender
	// Version says what was measured.
	Version func(ctx context.Context) (string, error)
	// Note compares it with cstproxy, in a paragraph for BENCHMARKS.md.
	Note string
}

// rivals are all that there are, listening on network, which is tcp or unix.
func rivals(network string) []rival {
	return []rival{
		nginxRival("redis", network), nginxRival("dict", network), nginxRival("cache", network),
		nodeRival(1, network), nodeRival(2, network),
		oauth2Rival(network),
	}
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

// listenAt returns where a rival is to listen: a free port of loopback, or a socket in folder.
func listenAt(ctx context.Context, network, folder string) (target, error) {
	at := target{Network: network, Address: filepath.Join(folder, "sock"), Path: tokenPath}
	if network == "unix" {
		return at, nil
	}
	address, err := freeAddress(ctx)
	at.Address = address
	return at, err
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

// overNetwork is a contender's name, with what it listens on where that isn't TCP.
func overNetwork(name, network string) string {
	if network == "unix" {
		return name + ", unix socket"
	}
	return name
}
