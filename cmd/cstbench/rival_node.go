package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// nodeNote compares what a team would write on Node with cstproxy.
const nodeNote = "A handler of a dozen lines on Node (fastify and ioredis, as their own documentation has them for speed) asks Redis in each request " +
	"and sends on what lies there, as a buffer. Commands of one turn of the event loop go to Redis together. It opens no seal, knows no dates, " +
	"mints and refreshes nothing, asks no caller who he is, and counts and logs nothing. One process uses one core; two share their " +
	"port by Node's cluster module."

// nodeRival is a handler on Node, in as many processes as there are workers.
func nodeRival(workers int) rival {
	name, title := "node", "Node, fastify and ioredis"
	if workers > 1 {
		name, title = fmt.Sprintf("node-%d", workers), fmt.Sprintf("%s, %d processes", title, workers)
	}
	return rival{
		contender: contender{
			Name:    name,
			Start:   func(ctx context.Context, w *world) (*running, error) { return startNode(ctx, w, workers) },
			Missing: nodeMissing,
		},
		Title:   title,
		Version: nodeVersion,
		Note:    nodeNote,
	}
}

func nodeMissing() string {
	if _, err := exec.LookPath("node"); err != nil {
		return "node is not on PATH"
	}
	return notInstalled("node/server.mjs", "node/.installed")
}

func startNode(ctx context.Context, w *world, workers int) (*running, error) {
	program, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("find node: %w", err)
	}
	server, err := installed("node/server.mjs")
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(w.Dir, "node-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	p, err := w.spawn(command{
		Name: filepath.Base(folder), Path: program, Dir: folder, Environ: []string{"NODE_ENV=production"},
		Args: []string{server, address, "redis://" + w.Redis.Addr, documentPrefix, strconv.Itoa(workers)},
	})
	if err != nil {
		return nil, err
	}
	started, err := p.answering(ctx, target{Network: "tcp", Address: address, Path: tokenPath})
	if err != nil {
		return nil, err
	}
	found, err := p.says(ctx, regexp.MustCompile(`(?m)^(\[[0-9,]+\])$`))
	if err != nil {
		return nil, err
	}
	return started, json.Unmarshal([]byte(found[1]), &started.Processes)
}

// nodeVersion names Node and the two packages.
func nodeVersion(ctx context.Context) (string, error) {
	text, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask node for its version: %w", err)
	}
	said := []string{"Node " + strings.TrimPrefix(strings.TrimSpace(string(text)), "v")}
	for _, name := range []string{"fastify", "ioredis"} {
		text, err := os.ReadFile(filepath.Join(rivalsFolder, "node/node_modules", name, "package.json"))
		if err != nil {
			return "", fmt.Errorf("read the version of %s: %w", name, err)
		}
		var its struct {
			Version string `json:"version"`
		}
		if err := json.Unmarshal(text, &its); err != nil {
			return "", fmt.Errorf("read the version of %s: %w", name, err)
		}
		said = append(said, name+" "+its.Version)
	}
	return strings.Join(said, ", "), nil
}
