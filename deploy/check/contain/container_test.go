package contain

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	proxyID = 65532 // the image's user and group, and the pod's fsGroup
	memory  = 64 << 20
)

// patience is far more than anything here takes that has no limit of its own, on a busy machine too.
const patience = 30 * time.Second

// await returns once condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// process is one of the pod's. It ends with its test.
type process struct {
	t       *testing.T
	command *exec.Cmd
	written transcript
	ended   chan struct{}
}

// start starts a program as the user, in the groups, with nothing but environ in its environment.
func start(t *testing.T, as *syscall.Credential, environ []string, program ...string) *process {
	t.Helper()
	p := &process{t: t, command: exec.Command(program[0], program[1:]...), ended: make(chan struct{})}
	p.command.Env = append([]string{"PATH=" + os.Getenv("PATH")}, environ...)
	p.command.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGKILL}
	p.command.Stdout, p.command.Stderr = &p.written, &p.written
	p.command.Dir = "/"
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.command.Wait() // how it ended is in its ProcessState
	}()
	t.Cleanup(func() {
		_ = p.command.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s wrote:\n%s", p.command, p.written.tail())
		}
	})
	return p
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// exit returns the exit code, once there is one.
func (p *process) exit() int {
	p.t.Helper()
	await(p.t, p.command.Path+" to end", p.hasEnded)
	return p.command.ProcessState.ExitCode()
}

// container is the proxy in its container.
type container struct {
	*process
	id    string
	began time.Time
	pid   int
}

// contain starts the proxy in a container with these volumes (:: path in the container → path here), and returns once it
// runs. It need not serve yet.
func contain(t *testing.T, environ []string, volumes map[string]string) *container {
	t.Helper()
	bundle := t.TempDir()
	furnish(t, filepath.Join(bundle, "rootfs"))
	text, err := json.Marshal(specification(t, environ, volumes))
	if err == nil {
		err = os.WriteFile(filepath.Join(bundle, "config.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &container{id: filepath.Base(*scratch), began: time.Now()}
	pid := filepath.Join(bundle, "pid")
	c.process = start(t, nil, nil, "runc", "--root", state(), "run", "--bundle", bundle, "--pid-file", pid, c.id)
	t.Cleanup(func() { _ = exec.Command("runc", "--root", state(), "delete", "--force", c.id).Run() }) // it is gone, if all went well
	await(t, "the container to run", func() bool {
		text, _ := os.ReadFile(pid)
		c.pid, _ = strconv.Atoi(string(text))
		return c.pid > 0 || c.hasEnded()
	})
	if c.pid == 0 {
		c.notMade()
	}
	return c
}

// incapable is why this machine makes no container, if it is the machine.
var incapable atomic.Pointer[string]

// notMade ends the test: a machine that does not allow containers shows nothing, and a mistake in one is a failure.
func (c *container) notMade() {
	c.t.Helper()
	why := c.written.tail()
	for _, sign := range []string{"cgroup", "operation not permitted", "permission denied", "read-only file system"} {
		if strings.Contains(why, sign) {
			incapable.Store(&why)
			c.t.Skip("SKIPPED, no container can be made here: ", why)
		}
	}
	c.t.Fatal("no container was made: ", why)
}

// state is where the runtime keeps what it knows.
func state() string { return filepath.Join(*scratch, "runc") }

// furnish makes a root that holds what the image does.
func furnish(t *testing.T, root string) {
	t.Helper()
	content, err := os.ReadFile(*binary)
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		t.Log("the root has no certificates, since this machine has none:", err)
	}
	for name, file := range map[string]struct {
		content []byte
		mode    os.FileMode
	}{
		"cstproxy":                          {content, 0o755},
		"etc/passwd":                        {[]byte("nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"), 0o644},
		"etc/group":                         {[]byte("nonroot:x:65532:\n"), 0o644},
		"etc/ssl/certs/ca-certificates.crt": {certificates, 0o644},
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.content, file.mode); err != nil {
			t.Fatal(err)
		}
	}
}

// specification is the container as the runtime wants it told. The network is that of the tests, the pod's.
func specification(t *testing.T, environ []string, volumes map[string]string) map[string]any {
	type object = map[string]any
	mounts := []object{
		{"destination": "/proc", "type": "proc", "source": "proc", "options": []string{"nosuid", "noexec", "nodev"}},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "strictatime", "mode=755", "size=64k"}},
	}
	for inside, outside := range volumes {
		access := "ro"
		if inside == socketDirectory {
			access = "rw"
		}
		mounts = append(mounts, object{
			"destination": inside, "type": "bind", "source": outside, "options": []string{"rbind", access, "nosuid", "nodev", "noexec"},
		})
	}
	none := []string{}
	return object{
		"ociVersion": "1.0.2",
		"process": object{
			"user": object{"uid": proxyID, "gid": proxyID, "additionalGids": []int{proxyID}}, "cwd": "/",
			"args": []string{"/cstproxy", "serve"}, "env": environ, "noNewPrivileges": true,
			"capabilities": object{"bounding": none, "effective": none, "permitted": none, "inheritable": none, "ambient": none},
		},
		"root":   object{"path": "rootfs", "readonly": true},
		"mounts": mounts,
		"linux": object{
			"namespaces":  []object{{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}},
			"cgroupsPath": filepath.Base(*scratch), // below the cgroup that this runs in
			"resources":   object{"memory": object{"limit": memory, "swap": memory}},
			"seccomp":     seccomp(t),
			"maskedPaths": []string{"/proc/kcore", "/proc/keys", "/proc/timer_list"}, "readonlyPaths": []string{"/proc/sys", "/proc/bus"},
		},
	}
}

// signal sends the proxy a signal as the runtime does, from outside.
func (c *container) signal(s syscall.Signal) { _ = syscall.Kill(c.pid, s) }

// healthcheck runs the image's HEALTHCHECK within the container.
func (c *container) healthcheck() int {
	return start(c.t, nil, nil, "runc", "--root", state(), "exec", c.id, "/cstproxy", "healthcheck").exit()
}

// status returns what the kernel says of the proxy (:: name → value).
func (c *container) status() map[string]string {
	c.t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(c.pid) + "/status")
	if err != nil {
		c.t.Fatal(err)
	}
	status := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		status[name] = strings.Join(strings.Fields(value), " ")
	}
	return status
}

// kibibytes returns one of the sizes in status.
func (c *container) kibibytes(name string) int {
	c.t.Helper()
	number, _, _ := strings.Cut(c.status()[name], " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	return n
}

// ofCgroup returns a number that the container's memory cgroup keeps, of the first of these names (v2's, v1's) that is there.
func (c *container) ofCgroup(names ...string) int {
	c.t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(c.pid) + "/cgroup")
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		for _, name := range names {
			content, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", parts[1], parts[2], name))
			if n, bad := strconv.Atoi(strings.TrimSpace(string(content))); err == nil && bad == nil {
				return n
			}
		}
	}
	c.t.Fatalf("the cgroup has none of %s:\n%s", names, text)
	return 0
}

// transcript keeps what was written to it. It is safe for concurrent use.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// tail leaves out all but the end.
func (s *transcript) tail() string {
	text := s.String()
	return text[max(0, len(text)-4000):]
}
