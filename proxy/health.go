package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
)

// Check is one thing that readiness depends on.
type Check struct {
	Name string
	// Probe returns an error if the thing is not well.
	Probe func(context.Context) error
	// Optional: this replica serves without it, only less well; readiness then says degraded and stays.
	Optional bool
}

// Health is what the admin port says of this replica. The zero Health has not started.
type Health struct {
	Checks []Check

	started, draining atomic.Bool
}

// Started says that the configuration is valid and the listeners are up.
func (h *Health) Started() { h.started.Store(true) }

// Drain says that this replica is about to end.
func (h *Health) Drain() { h.draining.Store(true) }

// AdminParts is what the admin port is made of. Every field is required but the last.
type AdminParts struct {
	Health *Health
	// Metrics answers /metrics.
	Metrics http.Handler
	// Lifeline answers the status page: see [NewLifeline].
	Lifeline http.Handler
	Version  Version
	Demo     Demo
}

// Version is what /version answers.
type Version struct {
	Version   string `json:"version"`
	Revision  string `json:"revision"`
	GoVersion string `json:"goVersion"`
}

// NewAdmin returns the admin port. It tells no secret and no client id.
func NewAdmin(parts AdminParts) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", newStatusPage(parts.Demo))
	mux.Handle("POST "+lifelinePath, parts.Lifeline)
	mux.Handle("GET /metrics", parts.Metrics)
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /startupz", parts.Health.startup)
	mux.HandleFunc("GET /readyz", parts.Health.ready)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(parts.Version)
	})
	return mux
}

func (h *Health) startup(w http.ResponseWriter, _ *http.Request) {
	if !h.started.Load() {
		say(w, http.StatusServiceUnavailable, "starting\n")
		return
	}
	say(w, http.StatusOK, "ok\n")
}

// ready looks at what this replica needs, never at Portal: a Portal outage must not take live tokens away.
func (h *Health) ready(w http.ResponseWriter, r *http.Request) {
	status, word := http.StatusOK, "ok"
	var lines strings.Builder
	line := func(name string, err error) {
		if err != nil {
			_, _ = fmt.Fprintf(&lines, "[-]%s failed: %v\n", name, err)
			return
		}
		_, _ = fmt.Fprintf(&lines, "[+]%s ok\n", name)
	}
	for _, check := range h.own() {
		err := check.Probe(r.Context())
		line(check.Name, err)
		switch {
		case err == nil:
		case check.Optional && status == http.StatusOK:
			word = "degraded"
		case !check.Optional:
			status, word = http.StatusServiceUnavailable, "not ready"
		}
	}
	if !r.URL.Query().Has("verbose") {
		lines.Reset()
	}
	say(w, status, lines.String()+word+"\n")
}

// own returns the checks of every replica, then those of this one.
func (h *Health) own() []Check {
	return append([]Check{
		{Name: "started", Probe: h.checkStarted},
		{Name: "not-draining", Probe: h.checkNotDraining},
	}, h.Checks...)
}

func (h *Health) checkStarted(context.Context) error {
	if !h.started.Load() {
		return errors.New("still starting")
	}
	return nil
}

func (h *Health) checkNotDraining(context.Context) error {
	if h.draining.Load() {
		return errors.New("draining")
	}
	return nil
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}
