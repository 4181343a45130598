package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"

	"github.com/cstproxy/cstproxy/proxy/caller"
)

// startProxy starts a cstproxy on Redis, with its default settings but for those in settings (NAME=value), and returns it
// once it serves. It listens where CSTPROXY_LISTEN says, else on a free port of loopback.
func (w *world) startProxy(ctx context.Context, name string, settings ...string) (*running, error) {
	p, err := w.spawn(command{Name: name, Path: w.Proxy, Args: []string{"serve"}, Environ: append([]string{
		"PORTAL_API_URL=" + w.Portal, "PORTAL_MPC_URL=" + w.Portal, "PORTAL_API_KEY=" + w.PortalKey, "REDIS_URL=redis://" + w.Redis.Addr,
		"CSTPROXY_LISTEN=127.0.0.1:0", "CSTPROXY_ADMIN_LISTEN=127.0.0.1:0",
	}, settings...)})
	if err != nil {
		return nil, err
	}
	found, err := p.says(ctx, regexp.MustCompile(`"listen":"([^"]+)"`))
	if err != nil {
		return nil, err
	}
	at := target{Network: "unix", Address: found[1], Path: tokenPath}
	if _, _, err := net.SplitHostPort(found[1]); err == nil && !filepath.IsAbs(found[1]) {
		at.Network = "tcp"
	}
	return &running{Target: at, Processes: []int{p.Pid}, Stop: p.Stop}, nil
}

// memoryOff has cstproxy look into Redis for each request.
const memoryOff = "CSTPROXY_MEMORY_TTL=0s"

// startProxyAs returns what starts a cstproxy that has a TCP port.
func startProxyAs(name string, settings ...string) func(context.Context, *world) (*running, error) {
	return func(ctx context.Context, w *world) (*running, error) { return w.startProxy(ctx, name, settings...) }
}

// startProxyWithCallers starts one whose callers have a key, and is asked with that.
func startProxyWithCallers(ctx context.Context, w *world) (*running, error) {
	setting, key, err := w.writeCallers()
	if err != nil {
		return nil, err
	}
	p, err := w.startProxy(ctx, nameCallers, setting)
	if err == nil {
		p.Target.Header = key
	}
	return p, err
}

// writeCallers writes a callers file, and returns the setting that names it, and the header of who is in it.
func (w *world) writeCallers() (setting string, header http.Header, err error) {
	key, hash := caller.NewKey()
	file := filepath.Join(w.Dir, "callers.yaml")
	text := fmt.Sprintf("callers:\n  - name: backend\n    keys: [%q]\n    routes: [token]\n    clients: [cm]\n", hash)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return "", nil, fmt.Errorf("write a callers file: %w", err)
	}
	return "CSTPROXY_CALLERS_FILE=" + file, http.Header{"Authorization": {"Bearer " + key}}, nil
}

// startProxyUnix returns what starts a cstproxy that has a Unix socket.
func startProxyUnix(name string, settings ...string) func(context.Context, *world) (*running, error) {
	return func(ctx context.Context, w *world) (*running, error) {
		return w.startProxy(ctx, name, append(settings, "CSTPROXY_LISTEN=unix:"+filepath.Join(w.Dir, name+".sock"))...)
	}
}
