package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy"
)

// audit writes lines of JSON, each in one piece and before Record returns. It never waits for room in a queue, since it
// has none: what a line costs, its request pays.
type audit struct {
	lines   slog.Handler
	strict  bool
	metrics *metrics.Metrics
	log     *slog.Logger
	failing atomic.Bool
	// file is nil unless lines go to one.
	file *appendFile
}

// newAudit opens the audit that config names; nil if it names none. own is where the log goes.
func newAudit(config Config, m *metrics.Metrics, log *slog.Logger, own io.Writer) (*audit, error) {
	a := &audit{strict: config.AuditStrict, metrics: m, log: log}
	switch config.Audit.Kind {
	case auditFile:
		file, err := openAppend(config.Audit.Path)
		if err != nil {
			return nil, err
		}
		a.file, own = file, file
	case auditLog:
	default:
		return nil, nil //nolint:nilnil // there is none, and nothing went wrong
	}
	a.lines = slog.NewJSONHandler(own, nil)
	return a, nil
}

// Record implements [proxy.Auditor]. Unless the audit is strict, a line that can't be written is counted, and no error.
func (a *audit) Record(ctx context.Context, entry proxy.Entry) error {
	err := a.lines.Handle(ctx, line(entry))
	a.metrics.Audited(err)
	a.tell(ctx, err)
	if a.strict {
		return err
	}
	return nil
}

// tell logs that lines begin to fail, and that they do so no longer.
func (a *audit) tell(ctx context.Context, err error) {
	switch {
	case err != nil && !a.failing.Swap(true):
		a.log.ErrorContext(ctx, "audit not written", "strict", a.strict, "error", err)
	case err == nil && a.failing.Load() && a.failing.Swap(false):
		a.log.InfoContext(ctx, "audit written again")
	}
}

// line returns the entry as a record; what is not known is left out.
func line(entry proxy.Entry) slog.Record {
	record := slog.NewRecord(time.Now(), slog.LevelInfo, string(entry.Event), 0)
	record.AddAttrs(slog.Bool("audit", true))
	add := func(key, value string) {
		if value != "" {
			record.AddAttrs(slog.String(key, value))
		}
	}
	add("caller", entry.Caller)
	add("client", string(entry.Client))
	if !entry.TokenID.IsZero() {
		add("token_id", entry.TokenID.String())
	}
	if !entry.Rejected.IsZero() {
		add("rejected_token_id", entry.Rejected.String())
	}
	add("decision", entry.Decision)
	add("reason", string(entry.Reason))
	add("method", entry.Method)
	add("route", entry.Route)
	if entry.Status != 0 {
		record.AddAttrs(slog.Int("status", entry.Status))
	}
	add("request_id", entry.RequestID)
	return record
}

// follow opens a file anew on SIGHUP, which otherwise would end the process, until ctx ends.
func (a *audit) follow(ctx context.Context) {
	if a == nil || a.file == nil {
		return
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			a.tell(ctx, a.file.reopen())
		}
	}
}

func (a *audit) close() {
	if a == nil || a.file == nil {
		return
	}
	if err := a.file.close(); err != nil {
		a.log.Error("audit not closed", "error", err)
	}
}
