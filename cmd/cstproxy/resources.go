package main

import (
	"context"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// ofMemory leaves room for what the runtime does not count: the program itself, and its sockets in the kernel.
	ofMemory = 0.9
	// leastMemory keeps a limit that is too small from having the collector run all the time.
	leastMemory = 32 << 20
	// littleMemory is what leaves none to wait with collecting until there is as much garbage as there is data.
	littleMemory = 128 << 20
	// littleGarbage is what is let lie there, in percent of the data, as in GOGC: half of what Go does by itself.
	littleGarbage = 50
	// memoryPerEntry is four times what a token in memory takes, so that all of them take a quarter of the memory.
	memoryPerEntry = 2 << 10
	// otherFiles are those that are no connections to the data API: the admin port's, to Redis, to Portal, and the rest.
	otherFiles = 512
)

// limitMemory has the collector keep to the limit that limit finds, unless GOMEMLIMIT is set. Without one nothing changes.
func limitMemory(ctx context.Context, limit memlimit.Provider, log *slog.Logger) {
	most, err := memlimit.Set(memlimit.WithProvider(limit), memlimit.WithRatio(ofMemory), memlimit.WithMin(leastMemory))
	switch {
	case err != nil:
		log.DebugContext(ctx, "no memory limit found", "error", err)
	case most < math.MaxInt64:
		log.InfoContext(ctx, "memory limited", "bytes", most)
	}
}

// collectSooner has the collector do so where limit is little, unless GOGC is set.
func collectSooner(limit int64, environ []string) {
	set := slices.ContainsFunc(environ, func(pair string) bool { return strings.HasPrefix(pair, "GOGC=") })
	if limit <= littleMemory && !set {
		debug.SetGCPercent(littleGarbage)
	}
}

// entries returns how many tokens may be kept in memory: one that is forgotten is read from Redis again, and a process that
// is ended for want of memory has forgotten all.
func entries(ctx context.Context, most int, limit int64, log *slog.Logger) int {
	fit := int(min(int64(most), max(limit/memoryPerEntry, 1)))
	if fit < most {
		log.InfoContext(ctx, "fewer tokens kept in memory than set, for want of memory", "set", most, "entries", fit, "bytes", limit)
	}
	return fit
}

// connections returns how many connections to the data API there may be: no more than there are files for, since one that
// can't be accepted leaves none for the admin port, Redis or Portal.
func connections(ctx context.Context, most int, log *slog.Logger) int {
	files := maxFiles()
	fit := fitting(most, files)
	if fit < most {
		log.WarnContext(ctx, "fewer connections than set, for want of files (ulimit -n)", "set", most, "connections", fit, "files", files)
	}
	return fit
}

// fitting leaves the other files, or half of all where that are few. No files is no telling.
func fitting(most, files int) int {
	if files == 0 {
		return most
	}
	return min(most, max(files-otherFiles, files/2, 1))
}
