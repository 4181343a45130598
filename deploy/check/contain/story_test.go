package contain

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestSidecarIsReadyWithinASecondAndHasNothingItNeedsNot(t *testing.T) {
	p := newPod(t)
	c := contain(t, p.environ, p.volumes)
	await(t, "/readyz", func() bool { return get(admin+"/readyz") == http.StatusOK || c.hasEnded() })
	took := time.Since(c.began)
	figure(t, "ready", "%s after the runtime was called, limit 1s", took.Round(time.Millisecond))
	if took >= time.Second {
		t.Errorf("ready after %s, want less than a second", took)
	}

	status := c.status()
	for name, want := range map[string]string{
		"Uid": "65532 65532 65532 65532", "Gid": "65532 65532 65532 65532", "Groups": "65532", "NoNewPrivs": "1", "Seccomp": "2",
		"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
		"CapBnd": "0000000000000000", "CapAmb": "0000000000000000",
	} {
		if status[name] != want {
			t.Errorf("%s is %q, want %q", name, status[name], want)
		}
	}
	if limit := c.ofCgroup("memory.max", "memory.limit_in_bytes"); limit != memory {
		t.Errorf("the limit of memory is %d, want %d", limit, memory)
	}
	root := "/proc/" + strconv.Itoa(c.pid) + "/root"
	var stat syscall.Statfs_t
	if err := syscall.Statfs(root, &stat); err != nil || stat.Flags&syscall.MS_RDONLY == 0 {
		t.Errorf("the root is not read-only: flags %x, error %v", stat.Flags, err)
	}
	if err := os.WriteFile(filepath.Join(root, secrets, "portal/new"), nil, 0o600); err == nil {
		t.Error("the secret's volume can be written to")
	}

	for _, probe := range []string{"/startupz", "/livez", "/readyz", "/metrics"} {
		if got := get(admin + probe); got != http.StatusOK {
			t.Errorf("%s by the pod's address answers %d, want 200", probe, got)
		}
	}
	if code := c.healthcheck(); code != 0 {
		t.Errorf("healthcheck in the container exits with %d, want 0", code)
	}
	if got := get("http://" + podAddress + ":8080/livez"); got != 0 {
		t.Errorf("the data API answers by the pod's address, %d", got)
	}
	c.signal(syscall.SIGTERM)
	if code := c.exit(); code != 0 {
		t.Errorf("the container ended with %d, want 0", code)
	}
}

func TestTenThousandClientsFitIntoTheMemory(t *testing.T) {
	const clients, connections, most = 10_000, 50, 48 << 10
	p := newPod(t)
	c := p.sidecar()
	for _, round := range []string{"minted", "from the cache"} {
		began := time.Now()
		if err := fetchAll(connections, clients, "client"); err != nil {
			t.Fatalf("%s: %v", round, err)
		}
		figure(t, "served", "%d clients %s over %d connections in %s", clients, round, connections, time.Since(began).Round(time.Millisecond))
	}
	peak := c.kibibytes("VmHWM")
	figure(t, "resident", "%.1f MiB at most (VmHWM), limit 48 MiB; now %.1f MiB of its own and %.1f MiB of the binary",
		float64(peak)/1024, float64(c.kibibytes("RssAnon"))/1024, float64(c.kibibytes("RssFile"))/1024)
	figure(t, "cgroup", "%.1f MiB at most, limit 64 MiB", float64(c.ofCgroup("memory.peak", "memory.max_usage_in_bytes"))/(1<<20))
	if peak >= most {
		t.Errorf("resident were %d KiB, want less than %d", peak, most)
	}
	if arrived := p.arrived(); arrived < clients {
		t.Errorf("%d mints reached Portal, want one for each of %d clients", arrived, clients)
	}
	c.signal(syscall.SIGTERM)
	if code := c.exit(); code != 0 {
		t.Errorf("the container ended with %d, want 0", code)
	}
}

func TestSocketIsForTheGroupAlone(t *testing.T) {
	p := newPod(t)
	volume := inMemory(t, "1m")
	p.volumes[socketDirectory] = volume
	socket := filepath.Join(volume, "cstproxy.sock")
	c := p.sidecar("CSTPROXY_LISTEN=unix:"+socketDirectory+"/cstproxy.sock", "CSTPROXY_SOCKET_MODE=0660")
	info, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	owner, _ := info.Sys().(*syscall.Stat_t)
	figure(t, "socket", "%s of %d:%d", info.Mode(), owner.Uid, owner.Gid)

	// A pod's volumes are open to all its containers; the directories above, here, are root's alone.
	open(t, volume)
	if app := p.backend(backendUser, "-network", "unix", "-address", socket); app.exit() != 0 {
		t.Errorf("uid 1000 in group %d is not served: %s", proxyID, app.written.tail())
	}
	stray := p.backend(strayUser, "-network", "unix", "-address", socket, "-tokens", "1")
	if stray.exit() == 0 || !strings.Contains(stray.written.String(), "permission denied") {
		t.Errorf("uid 1001, not in the group, ends with %d: %s", stray.exit(), stray.written.tail())
	}
	c.signal(syscall.SIGTERM)
	if code := c.exit(); code != 0 {
		t.Errorf("the container ended with %d, want 0", code)
	}
}

// open lets everybody pass to the volume.
func open(t *testing.T, volume string) {
	t.Helper()
	for path := filepath.Dir(volume); strings.HasPrefix(path, *scratch); path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRequestsInFlightOutliveTheSignal(t *testing.T) {
	const flying = 50
	p := newPod(t)
	c := p.sidecar()
	p.behave(`{"faults":{"mint":{"latency":"2s"}}}`)
	landed := make(chan error, 1)
	go func() { landed <- fetchAll(flying, flying, "flying") }()
	await(t, "the requests to reach Portal", func() bool { return p.arrived() == flying })
	if len(landed) > 0 {
		t.Fatal("no request was in flight any more")
	}
	began := time.Now()
	c.signal(syscall.SIGTERM)
	await(t, "/readyz to answer 503", func() bool { return get(admin+"/readyz") == http.StatusServiceUnavailable })
	if err := <-landed; err != nil {
		t.Errorf("lost: %v", err)
	}
	code := c.exit()
	took := time.Since(began)
	figure(t, "drain", "%d requests in flight, exit %d after %s, limit 10s", flying, code, took.Round(time.Millisecond))
	if code != 0 || took >= 10*time.Second {
		t.Errorf("ended with %d after %s, want 0 within 10s", code, took)
	}
}

// The proxy is the first process of its container, which the kernel spares what others die of.
func TestSecondSignalEndsTheContainerAtOnce(t *testing.T) {
	c := newPod(t).sidecar("CSTPROXY_DRAIN_DELAY=5m")
	c.signal(syscall.SIGTERM)
	await(t, "/readyz to answer 503", func() bool { return get(admin+"/readyz") == http.StatusServiceUnavailable })
	began := time.Now()
	await(t, "the container to end", func() bool {
		c.signal(syscall.SIGTERM)
		return c.hasEnded()
	})
	figure(t, "second signal", "exit %d after %s", c.exit(), time.Since(began).Round(time.Millisecond))
	if c.exit() == 0 {
		t.Error("the container ended with 0, as if it had drained")
	}
}

func TestJobCompletes(t *testing.T) {
	p := newPod(t)
	c := p.sidecar() // the app starts once the startupProbe passed
	app := p.backend(backendUser)
	if code := app.exit(); code != 0 {
		t.Errorf("the app ended with %d: %s", code, app.written.tail())
	}
	if c.hasEnded() {
		t.Fatal("the sidecar ended before it was told to")
	}
	told := time.Now()
	c.signal(syscall.SIGTERM) // a kubelet tells sidecars once the last ordinary container has ended
	code := c.exit()
	figure(t, "job", "app: %s; sidecar: exit %d, %s after its signal", lastLine(app), code, time.Since(told).Round(time.Millisecond))
	if code != 0 {
		t.Errorf("the sidecar ended with %d, want 0", code)
	}
}

func TestPodIsDeletedWithoutALostRequest(t *testing.T) {
	p := newPod(t)
	c := p.sidecar()
	app := p.backend(backendUser, "-serve", "-late", "500ms")
	await(t, "the app to begin", func() bool { return strings.Contains(app.written.String(), "begun") })
	_ = app.command.Process.Signal(syscall.SIGTERM) // ordinary containers first
	if code := app.exit(); code != 0 {
		t.Errorf("the app ended with %d: %s", code, app.written.tail())
	}
	c.signal(syscall.SIGTERM)
	code := c.exit()
	figure(t, "deletion", "app: %s; sidecar: exit %d", lastLine(app), code)
	if code != 0 {
		t.Errorf("the sidecar ended with %d, want 0", code)
	}
}

func TestClassicSidecarServesWhileTheAppEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		delay string
		want  int
	}{
		"with a delay of the drain": {"2s", 0},
		"without, the app loses":    {"0s", 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			c := p.sidecar("CSTPROXY_DRAIN_DELAY=" + tt.delay)
			app := p.backend(backendUser, "-serve", "-late", "1s")
			await(t, "the app to begin", func() bool { return strings.Contains(app.written.String(), "begun") })
			c.signal(syscall.SIGTERM) // both at once
			_ = app.command.Process.Signal(syscall.SIGTERM)
			got, code := app.exit(), c.exit()
			figure(t, "classic", "delay %s, app: %s; sidecar: exit %d", tt.delay, lastLine(app), code)
			if got != tt.want || code != 0 {
				t.Errorf("the app ended with %d, the sidecar with %d, want %d and 0", got, code, tt.want)
			}
		})
	}
}

func lastLine(p *process) string {
	lines := strings.Split(strings.TrimSpace(p.written.String()), "\n")
	return lines[len(lines)-1]
}

// doorman stands before the simulated Portal, and says which Portal API Keys there are.
type doorman struct {
	// old and next: how many requests came with each key.
	old, next atomic.Int64
	revoked   atomic.Bool
}

const oldKey, nextKey = "portal-key-old", "portal-key-next"

func (d *doorman) before(portal http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch key := r.Header.Get("Authorization"); {
		case key == "Bearer "+nextKey:
			d.next.Add(1)
			r.Header.Set("Authorization", "Bearer "+portalKey)
		case key == "Bearer "+oldKey && !d.revoked.Load():
			d.old.Add(1)
			r.Header.Set("Authorization", "Bearer "+portalKey)
		}
		portal.ServeHTTP(w, r)
	})
}

func TestSecretReplacedByAKubeletIsUsedWithinTenSeconds(t *testing.T) {
	p := newPod(t)
	p.portal.write(oldKey)
	d := &doorman{}
	address, err := url.Parse(portal)
	if err != nil {
		t.Fatal(err)
	}
	door := httptest.NewServer(d.before(httputil.NewSingleHostReverseProxy(address)))
	t.Cleanup(door.Close)
	c := p.sidecar("PORTAL_API_URL=" + door.URL)

	var asked, rounds atomic.Int64
	var stopped atomic.Bool
	lost := make(chan error, 1)
	go func() {
		var err error
		for ; err == nil && !stopped.Load(); rounds.Add(1) {
			err = fetchAll(8, 40, fmt.Sprintf("client-%d", rounds.Load())) // new ones, so that each needs the key
			asked.Add(40)
		}
		lost <- err
	}()
	await(t, "the old key to be used", func() bool { return d.old.Load() > 50 })
	began := time.Now()
	p.portal.write(nextKey)
	await(t, "the new key to be used", func() bool { return d.next.Load() > 0 })
	took := time.Since(began)
	d.revoked.Store(true)
	ahead := rounds.Load() + 5
	await(t, "some rounds without the old key", func() bool { return rounds.Load() >= ahead || len(lost) > 0 })
	stopped.Store(true)
	err = <-lost
	figure(t, "secret", "used %s after the kubelet's rename, limit 10s; %d requests, lost: %v", took.Round(time.Millisecond), asked.Load(), err)
	if err != nil || took >= 10*time.Second {
		t.Errorf("used after %s, error %v", took, err)
	}
	if c.hasEnded() || strings.Count(c.written.String(), `"msg":"serving"`) != 1 {
		t.Error("the process started anew")
	}
}
