package main

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
)

// describeMachine reads what this machine is, and what programs it has.
func describeMachine(ctx context.Context) machine {
	first := func(pattern string, text []byte) string {
		found := regexp.MustCompile(pattern).FindSubmatch(text)
		if found == nil {
			return ""
		}
		return strings.TrimSpace(string(found[1]))
	}
	file := func(path string) []byte {
		text, _ := os.ReadFile(path) // what can't be read is not told
		return text
	}
	said := func(name, flag, pattern string) string {
		text, _ := exec.CommandContext(ctx, name, flag).CombinedOutput() //nolint:gosec // names are below
		return first(pattern, text)
	}
	return machine{
		Processor: first(`model name\s*: (.+)`, file("/proc/cpuinfo")),
		Cores:     runtime.NumCPU(),
		Memory:    first(`MemTotal:\s*(.+)`, file("/proc/meminfo")),
		Kernel:    first(`(.+)`, file("/proc/sys/kernel/osrelease")),
		System:    first(`PRETTY_NAME="(.+)"`, file("/etc/os-release")),
		Go:        runtime.Version(),
		Redis:     said("redis-server", "--version", `v=(\S+)`),
		Nginx:     said("nginx", "-v", `nginx/(\S+)`),
		Node:      said("node", "--version", `v(\S+)`),
	}
}
