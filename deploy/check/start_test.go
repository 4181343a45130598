package check

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/cstproxy/cstproxy/deploy/check/manifest"
)

// patience is far more than a start or an end takes.
const patience = time.Minute

// TestContainersStartAsRendered starts the product with the arguments, environment and files of each rendered container,
// under a root of its own, asks what the probes ask, and ends it: a setting that it doesn't know, a key that a Secret
// doesn't have or a callers file that it doesn't take would have it exit.
func TestContainersStartAsRendered(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "cstproxy")
	// With the flags of make build, whose work is then in the cache.
	command := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, "./cmd/cstproxy")
	command.Dir = filepath.Join("..", "..")
	command.Env = append(command.Environ(), "CGO_ENABLED=0")
	if said, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build the product: %v\n%s", err, said)
	}
	started := 0
	for name, directory := range cases(t) {
		objects := parse(t, build(t, directory))
		workloads, err := objects.Workloads()
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range workloads {
			all := slices.Concat(w.Pod.Spec.InitContainers, w.Pod.Spec.Containers)
			at := slices.IndexFunc(all, func(c corev1.Container) bool { return c.Name == manifest.Proxy })
			if at < 0 {
				continue
			}
			started++
			t.Run(name+"/"+w.GetKind()+"-"+w.GetName(), func(t *testing.T) {
				starts(t, binary, pod{t: t, root: shortRoot(t), objects: objects, volumes: w.Pod.Spec.Volumes}, all[at])
			})
		}
	}
	if started == 0 {
		t.Error("there was none to start")
	}
}

// starts runs the container and asks its probes.
func starts(t *testing.T, binary string, p pod, c corev1.Container) {
	t.Helper()
	p.mount(c)
	command := exec.CommandContext(t.Context(), binary, c.Args...)
	command.Env = p.environment(c)
	written, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(patience, func() { _ = command.Process.Kill() })
	defer watchdog.Stop()
	lines := bufio.NewScanner(written)
	admin := adminAddress(t, lines)
	for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if admin != "" {
			asks(t, "http://"+admin+probe.HTTPGet.Path)
		}
	}
	_ = command.Process.Signal(syscall.SIGTERM)
	for lines.Scan() {
		t.Log(lines.Text())
	}
	if err := command.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// adminAddress reads the log until the process serves; it is "" when the process ends before.
func adminAddress(t *testing.T, lines *bufio.Scanner) string {
	t.Helper()
	for lines.Scan() {
		t.Log(lines.Text())
		var line struct {
			Message string `json:"msg"`
			Admin   string `json:"admin_listen"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "serving" {
			return line.Admin
		}
	}
	t.Error("it never served")
	return ""
}

func asks(t *testing.T, url string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Errorf("get %s: %v", url, err)
		return
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(answer.Body)
		t.Errorf("get %s: %d %s", url, answer.StatusCode, body)
	}
}

// shortRoot returns a directory whose name leaves room for that of a socket.
func shortRoot(t *testing.T) string {
	t.Helper()
	root, err := os.MkdirTemp("", "pod") //nolint:usetesting // the name of t.TempDir has that of the test, which is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	return root
}

// pod is what a container finds around it, under a root.
type pod struct {
	t       *testing.T
	root    string
	objects manifest.Objects
	volumes []corev1.Volume
}

var ports = regexp.MustCompile(`\A[0-9.]*:\d+\z`)

// environment is the container's, with paths under the root, ports of the system's choice on loopback, and no wait
// before the end.
func (p pod) environment(c corev1.Container) []string {
	var variables []string
	for _, variable := range c.Env {
		value := p.move(variable.Value)
		if ports.MatchString(value) {
			value = "127.0.0.1:0"
		}
		if variable.Name == "CSTPROXY_DRAIN_DELAY" {
			value = "1ms"
		}
		variables = append(variables, variable.Name+"="+value)
	}
	return variables
}

// move puts the paths in a text under the root, and hosts of the cluster where nobody answers.
func (p pod) move(text string) string {
	return strings.NewReplacer(
		"/run/", p.root+"/run/",
		"//kubernetes.default.svc.cluster.local", "//127.0.0.1:1",
		"@redis:6379", "@127.0.0.1:1",
	).Replace(text)
}

// mount writes the container's volumes.
func (p pod) mount(c corev1.Container) {
	p.t.Helper()
	for _, mount := range c.VolumeMounts {
		directory := p.move(mount.MountPath)
		if err := os.MkdirAll(directory, 0o700); err != nil {
			p.t.Fatal(err)
		}
		at := slices.IndexFunc(p.volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		for name, content := range p.files(p.volumes[at]) {
			if err := os.WriteFile(filepath.Join(directory, name), []byte(p.move(content)), 0o440); err != nil {
				p.t.Fatal(err)
			}
		}
	}
}

// files returns name → content of a volume: what is rendered, else what the comments of the components ask for.
func (p pod) files(v corev1.Volume) map[string]string {
	p.t.Helper()
	switch {
	case v.Secret != nil:
		if rendered := p.content("Secret", v.Secret.SecretName); rendered != nil {
			return rendered
		}
		return p.given(v.Secret.SecretName)
	case v.ConfigMap != nil:
		return p.content("ConfigMap", v.ConfigMap.Name)
	case v.Projected != nil:
		found := map[string]string{}
		for _, source := range v.Projected.Sources {
			maps.Copy(found, p.projected(source))
		}
		return found
	}
	return nil
}

// projected returns the files of a source, as the cluster makes them.
func (p pod) projected(source corev1.VolumeProjection) map[string]string {
	p.t.Helper()
	if source.ServiceAccountToken != nil {
		return map[string]string{source.ServiceAccountToken.Path: "a-token"}
	}
	certificate, _ := pair(p.t)
	return map[string]string{source.ConfigMap.Items[0].Path: certificate}
}

// given returns what a Secret holds that another hand makes.
func (p pod) given(name string) map[string]string {
	p.t.Helper()
	certificate, key := pair(p.t)
	return map[string]map[string]string{
		"cstproxy-portal": {"portal-api-key": "a-portal-api-key"},
		"cstproxy-redis":  {"redis-url": "rediss://127.0.0.1:1/0", "ca.crt": certificate},
		"cstproxy-tls":    {"tls.crt": certificate, "tls.key": key},
	}[name]
}

// content returns what a rendered Secret or ConfigMap holds, nil if there is none of that name.
func (p pod) content(kind, name string) map[string]string {
	p.t.Helper()
	for _, object := range p.objects.Of(kind) {
		if object.GetName() != name {
			continue
		}
		found := map[string]string{}
		data, _ := object.Object["data"].(map[string]any)
		for key, value := range data {
			found[key], _ = value.(string)
			if kind == "Secret" {
				text, err := base64.StdEncoding.DecodeString(found[key])
				if err != nil {
					p.t.Fatal(err)
				}
				found[key] = string(text)
			}
		}
		return found
	}
	return nil
}

// pair returns a certificate that vouches for itself, and its key, in PEM.
func pair(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}
