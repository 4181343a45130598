package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// Where a program says that it listens.
var (
	servingLine = regexp.MustCompile(`"listen":"([0-9.:]+)","admin_listen":"([0-9.:]+)"`)
	portalLine  = regexp.MustCompile(`PORTAL_API_URL=(\S+) PORTAL_API_KEY=(\S+)`)
)

// plan is what a fleet is made of. Its zero value is one replica, set as a test needs it.
type plan struct {
	replicas int
	// life is how long a token lives without use, and window in all; 24 h and 168 h unless they are set.
	life, window time.Duration
	environ      []string
	// ahead is how many seconds Redis's clock is ahead.
	ahead int
	// through returns the socket at which the proxies find Redis, given Redis's own.
	through func(t *testing.T, socket string) string
}

// fleet is replicas of the product with all that they work with.
type fleet struct {
	t         *testing.T
	name      string
	directory string
	portal    *process
	portalURL string
	redis     *redis
	environ   []string
	replicas  []*replica
}

// replica is a process of the product. It keeps its addresses when it is started anew.
type replica struct {
	*process
	data, admin string
}

// begin starts a fleet, and returns once it serves.
func begin(t *testing.T, name string, p plan) *fleet {
	t.Helper()
	f := &fleet{t: t, name: name, directory: short(t)}
	f.startPortal(p)
	f.redis = startRedis(t, f.directory, p.ahead)
	socket := f.redis.socket
	if p.through != nil {
		socket = p.through(t, socket)
	}
	key := filepath.Join(f.directory, "portal-api-key")
	f.write(key, f.portal.says(portalLine)[2])
	f.environ = append([]string{
		"PORTAL_API_URL=" + f.portalURL, "PORTAL_MPC_URL=" + f.portalURL, "PORTAL_API_KEY_FILE=" + key, "REDIS_URL=unix://" + socket,
	}, p.environ...)
	if p.life > 0 {
		f.environ = append(f.environ, "CSTPROXY_IDLE_TTL="+p.life.String(), "CSTPROXY_REFRESH_WINDOW="+p.window.String())
	}
	for range max(1, p.replicas) {
		f.replicas = append(f.replicas, &replica{data: "127.0.0.1:0", admin: "127.0.0.1:0"})
	}
	for _, r := range f.replicas {
		f.launch(r)
	}
	for _, r := range f.replicas {
		f.serving(r)
	}
	return f
}

// short returns a directory whose name leaves room for that of a socket.
func short(t *testing.T) string {
	t.Helper()
	directory, err := os.MkdirTemp("", "observe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	return directory
}

func (f *fleet) startPortal(p plan) {
	f.t.Helper()
	command := []string{*binary, "simulate", "--listen", "127.0.0.1:0", "--any-client", "--rate-limit", "0"}
	if p.life > 0 {
		command = append(command, "--idle-ttl", p.life.String(), "--refresh-window", p.window.String())
	}
	f.portal = start(f.t, nil, command...)
	f.portalURL = f.portal.says(portalLine)[1]
}

func (f *fleet) launch(r *replica) {
	f.t.Helper()
	own := []string{"CSTPROXY_LISTEN=" + r.data, "CSTPROXY_ADMIN_LISTEN=" + r.admin}
	r.process = start(f.t, append(own, f.environ...), *binary, "serve")
}

func (f *fleet) serving(r *replica) {
	f.t.Helper()
	found := r.says(servingLine)
	r.data, r.admin = found[1], found[2]
}

func (f *fleet) write(path, text string) {
	f.t.Helper()
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// key replaces the file of the Portal API Key.
func (f *fleet) key(text string) { f.write(filepath.Join(f.directory, "portal-api-key"), text) }

// fault is what goes wrong at the simulated Portal, as its control API has it.
type fault map[string]any

// spoil makes the operation go wrong at Portal; the empty fault is none.
func (f *fleet) spoil(operation string, what fault) {
	f.t.Helper()
	f.control(http.MethodPut, "behavior", map[string]any{"faults": map[string]any{operation: what}}, nil)
}

// control asks the simulated Portal's control API.
func (f *fleet) control(method, path string, body, into any) {
	f.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		f.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(context.Background(), method, f.portalURL+"/_sim/"+path, bytes.NewReader(text))
	if err != nil {
		f.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		f.t.Fatalf("%s %s: %s %s (%v)", method, path, response.Status, content, err)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(content, into); err != nil {
		f.t.Fatal(err)
	}
}

// minted returns how many tokens the simulated Portal made.
func (f *fleet) minted() int {
	f.t.Helper()
	var stats struct {
		Mints int `json:"mints"`
	}
	f.control(http.MethodGet, "stats", nil, &stats)
	return stats.Mints
}

// scraped returns what a replica's /metrics says.
func (r *replica) scraped() (string, error) {
	response, err := http.Get("http://" + r.admin + "/metrics")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", response.Status)
	}
	return string(text), err
}
