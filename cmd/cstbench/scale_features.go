package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"
)

// featureFigures is the processor time of a fetch with a feature, over that of one without it.
type featureFigures struct {
	Name string `json:"name"`
	// Base is the name of what it is set against.
	Base string `json:"base"`
	// Inside: it can't be turned off, so it was measured in a process, and set against a whole fetch through net/http.
	Inside bool  `json:"inside,omitempty"`
	Ratio  ratio `json:"ratio"`
}

// feature is a setting or two that turn it on, on top of what is there by default.
type feature struct {
	name     string
	settings []string
	header   http.Header
	// base is the name of what it is set against.
	base string
}

// What features are set against: a fetch from memory with default settings, on Redis, and the same of one who sends a header
// that is not known, and so is answered by net/http. What needs more of a request than its client is always answered so.
const (
	asShipped      = "as shipped"
	throughNetHTTP = "as shipped, through net/http"
)

func (r *scaleRun) features(ctx context.Context) ([]feature, func() error, error) {
	callers, key, err := r.writeCallers()
	if err != nil {
		return nil, nil, err
	}
	collector, end, err := collect(ctx)
	if err != nil {
		return nil, nil, err
	}
	return []feature{
		{name: asShipped},
		{name: "the same again", base: asShipped},
		{name: throughNetHTTP, base: asShipped, header: http.Header{"X-Anything": {"1"}}},
		{name: "callers file", base: throughNetHTTP, settings: []string{callers}, header: key},
		{name: "log at warn", base: asShipped, settings: []string{"CSTPROXY_LOG_LEVEL=warn"}},
		{name: "audit to a file", base: throughNetHTTP, settings: []string{"CSTPROXY_AUDIT=file:" + filepath.Join(r.Dir, "audit")}},
		{name: "traces, the default sampler", base: throughNetHTTP, settings: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector}},
		{name: "traces, always_on", base: throughNetHTTP, settings: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector, "OTEL_TRACES_SAMPLER=always_on"}},
		{name: "pass-through, not used", base: throughNetHTTP, settings: []string{"CSTPROXY_PASSTHROUGH=client"}},
	}[:r.size.Features], end, nil
}

func (r *scaleRun) measureFeatures(ctx context.Context) (all []featureFigures, err error) {
	features, end, err := r.features(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	store, err := openKept(ctx, r.world)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := store.fill(ctx, few); err != nil {
		return nil, err
	}
	processes := map[string]*asked{}
	defer func() {
		for _, p := range processes {
			err = errors.Join(err, p.end())
		}
	}()
	for i, f := range features {
		if processes[f.name], err = r.startFeature(ctx, i, f); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	took, err := r.inTurn(processes)
	if err != nil {
		return nil, err
	}
	for _, f := range features[1:] {
		all = append(all, featureFigures{Name: f.name, Base: f.base, Ratio: ratioOf(took[f.name], took[f.base])})
	}
	inside, err := r.measureInside(ctx, store, median(took[throughNetHTTP]))
	return append(all, inside...), err
}

// few is how many clients there are where their number is not the question.
const few = 100

func (r *scaleRun) startFeature(ctx context.Context, number int, f feature) (*asked, error) {
	a, err := r.start(ctx, fmt.Sprintf("feature-%d", number), append(f.settings, "CSTPROXY_MEMORY_TTL=1h")...)
	if err != nil {
		return nil, err
	}
	a.Target.Header = f.header
	const connections = 4
	err = a.connect(ctx, connections)
	if err == nil {
		_, err = a.fetch(20*few, anyOf(few)) // warm, and nearly all of them in memory
	}
	if err != nil {
		return nil, errors.Join(err, a.end())
	}
	return a, nil
}

// inTurn takes slices of each in rounds, in random order.
func (r *scaleRun) inTurn(processes map[string]*asked) (took map[string][]float64, err error) {
	took = map[string][]float64{}
	names := sortedNames(processes)
	for range r.size.Rounds {
		shuffle(names)
		for _, name := range names {
			s, failed := processes[name].fetch(r.size.Slice, anyOf(few))
			err = errors.Join(err, failed)
			took[name] = append(took[name], float64(s.processor))
		}
	}
	return took, err
}

// collect returns the URL of a collector of traces that takes all and looks at nothing.
func collect(ctx context.Context) (url string, end func() error, err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen for traces: %w", err)
	}
	take := func(_ http.ResponseWriter, request *http.Request) { _, _ = io.Copy(io.Discard, request.Body) }
	server := &http.Server{Handler: http.HandlerFunc(take), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return "http://" + listener.Addr().String(), func() error {
		err := server.Close()
		if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
		return err
	}, nil
}
