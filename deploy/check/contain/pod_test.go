package contain

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// podAddress is what a kubelet probes. It is not loopback, though nothing leaves this network.
	podAddress = "192.0.2.7"
	admin      = "http://" + podAddress + ":9090"
	data       = "127.0.0.1:8080"
	portal     = "http://127.0.0.1:8081"
	portalKey  = "portal-api-key-for-tests" // which the simulated Portal takes

	secrets         = "/run/secrets/cstproxy/"
	socketDirectory = "/run/cstproxy"
)

// The users beside the proxy.
var (
	backendUser = &syscall.Credential{Uid: 1000, Gid: 1000, Groups: []uint32{proxyID}} // with the pod's fsGroup
	strayUser   = &syscall.Credential{Uid: 1001, Gid: 1001}
	portalUser  = &syscall.Credential{Uid: 1002, Gid: 1002}
	redisUser   = &syscall.Credential{Uid: 999, Gid: 999}
)

// pod is a network and volumes, with Redis and the simulated Portal in it, and a container for the proxy.
type pod struct {
	t *testing.T
	// environ and volumes are the container's; a test may add to them before it starts it.
	environ []string
	volumes map[string]string
	// portal is the volume of the Portal API Key.
	portal *volume
}

func newPod(t *testing.T) *pod {
	t.Helper()
	p := &pod{t: t, portal: newVolume(t, "portal-api-key", portalKey)}
	redis := newVolume(t, "redis-url", "redis://127.0.0.1:6379/0")
	p.volumes = map[string]string{secrets + "portal": p.portal.path, secrets + "redis": redis.path}
	p.environ = []string{
		"CSTPROXY_LISTEN=" + data, "CSTPROXY_ADMIN_LISTEN=:9090", "PORTAL_API_KEY_FILE=" + secrets + "portal/portal-api-key",
		"REDIS_URL_FILE=" + secrets + "redis/redis-url", "GOMEMLIMIT=57MiB", "PORTAL_API_URL=" + portal, "CSTPROXY_MINT_RATE=0",
	}
	start(t, redisUser, nil, "redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	start(t, portalUser, nil, *binary, "simulate", "--any-client", "--rate-limit", "0")
	await(t, "the simulated Portal", func() bool { return get(portal+"/_sim/stats") == http.StatusOK })
	return p
}

// sidecar starts the proxy, and returns once its startupProbe passes.
func (p *pod) sidecar(environ ...string) *container {
	p.t.Helper()
	c := contain(p.t, append(p.environ, environ...), p.volumes)
	await(p.t, "/startupz", func() bool { return get(admin+"/startupz") == http.StatusOK || c.hasEnded() })
	return c
}

// behave has the simulated Portal do something else.
func (p *pod) behave(how string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodPut, portal+"/_sim/behavior", strings.NewReader(how))
	if err != nil {
		p.t.Fatal(err)
	}
	response, err := asker().Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		p.t.Fatalf("the simulated Portal does not do %s: %s", how, text)
	}
}

// arrived returns how many mints reached the simulated Portal.
func (p *pod) arrived() int {
	var said struct {
		Arrivals []time.Time `json:"arrivals"`
	}
	response, err := asker().Get(portal + "/_sim/arrivals?operation=mint")
	if err != nil {
		p.t.Error(err)
		return 0
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&said); err != nil {
		p.t.Error(err)
	}
	return len(said.Arrivals)
}

// backend starts a backend's container: see runBackend.
func (p *pod) backend(as *syscall.Credential, args ...string) *process {
	p.t.Helper()
	return start(p.t, as, nil, append([]string{os.Args[0], backendCommand}, args...)...)
}

// asker asks as a kubelet does: each time over a connection of its own.
func asker() *http.Client {
	return &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
}

// get returns the status of a URL, or 0 if nothing answers.
func get(url string) int {
	response, err := asker().Get(url)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// volume is a Secret of one key as a kubelet mounts it: in memory, for the group fsGroup, its content behind a link that is
// replaced as a whole.
type volume struct {
	t         *testing.T
	path, key string
	versions  int
}

func newVolume(t *testing.T, key, content string) *volume {
	t.Helper()
	v := &volume{t: t, path: inMemory(t, "1m"), key: key}
	v.write(content)
	if err := os.Symlink(filepath.Join("..data", key), filepath.Join(v.path, key)); err != nil {
		t.Fatal(err)
	}
	return v
}

// inMemory mounts what a kubelet does for what is kept in memory only.
func inMemory(t *testing.T, size string) string {
	t.Helper()
	path := t.TempDir()
	options := fmt.Sprintf("size=%s,mode=3777,gid=%d", size, proxyID)
	if said, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", path).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, said)
	}
	t.Cleanup(func() { _ = syscall.Unmount(path, syscall.MNT_DETACH) })
	return path
}

// write replaces the content as a kubelet does.
func (v *volume) write(content string) {
	v.t.Helper()
	v.versions++
	version := fmt.Sprintf("..2026_01_02_03_04_05.%d", v.versions)
	link, next := filepath.Join(v.path, "..data"), filepath.Join(v.path, "..data_tmp")
	before, _ := os.Readlink(link)
	file := filepath.Join(v.path, version, v.key)
	for _, step := range []func() error{
		func() error { return os.Mkdir(filepath.Dir(file), 0o755) },
		func() error { return os.WriteFile(file, []byte(content), 0o440) },
		func() error { return os.Chown(file, 0, proxyID) },
		func() error { return os.Symlink(version, next) },
		func() error { return os.Rename(next, link) },
	} {
		if err := step(); err != nil {
			v.t.Fatal(err)
		}
	}
	if before != "" {
		_ = os.RemoveAll(filepath.Join(v.path, before))
	}
}

// figure prints what was measured.
func figure(t *testing.T, name, format string, values ...any) {
	t.Helper()
	t.Logf("FIGURE "+name+": "+format, values...)
}
