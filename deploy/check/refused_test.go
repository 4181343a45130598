package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cstproxy/cstproxy/deploy/check/manifest"
)

// insecure :: fixture → the one reason for which it must be refused
var insecure = map[string]string{
	"apparmor-unconfined":        "forbidden AppArmor profile",
	"capabilities-kept":          "unrestricted capabilities",
	"capability-added":           "unrestricted capabilities",
	"host-network":               "host namespaces",
	"host-path":                  "restricted volume types",
	"host-pid":                   "host namespaces",
	"host-port":                  "hostPort",
	"maybe-root":                 "runAsNonRoot != true",
	"nfs-volume":                 "restricted volume types",
	"nonroot-unset":              "runAsNonRoot != true",
	"privilege-escalation":       "allowPrivilegeEscalation != false",
	"privilege-escalation-unset": "allowPrivilegeEscalation != false",
	"privileged-sidecar":         "privileged",
	"probe-elsewhere":            "probe or lifecycle host",
	"proc-unmasked":              "procMount",
	"root-user":                  "runAsUser=0",
	"seccomp-unconfined":         "seccompProfile",
	"seccomp-unset":              "seccompProfile",
	"selinux-type":               "seLinuxOptions",
	"sysctl":                     "forbidden sysctls",
}

// invalid :: fixture → what must be said of it
var invalid = map[string]string{
	"key-twice":       `key "replicas" already set in map`,
	"missing-field":   "missing property 'selector'",
	"nothing":         "there is no manifest",
	"unknown-field":   "additional properties 'restartpolicy' not allowed",
	"unknown-in-crd":  "additional properties 'endpoints' not allowed",
	"unknown-kind":    "could not find schema for Gadget",
	"unknown-version": "could not find schema for Deployment",
	"wrong-depth":     "additional properties 'fsGroup' not allowed",
	"wrong-type":      "at '/spec/replicas': got string, want",
}

func TestInsecureIsRefusedForItsOwnReason(t *testing.T) {
	known := schemas(t)
	names(t, "testdata/insecure/*", insecure)
	for name, reason := range insecure {
		t.Run(name, func(t *testing.T) {
			rendered := build(t, filepath.Join("testdata", "insecure", name))
			if err := known.Check(rendered); err != nil {
				t.Errorf("it is refused for another reason: %v", err)
			}
			refusals, err := manifest.Insecure(parse(t, rendered))
			if err != nil {
				t.Fatal(err)
			}
			if len(refusals) != 1 || refusals[0].Reason != reason {
				t.Errorf("got %+v, want %q alone", refusals, reason)
			}
		})
	}
}

func TestInvalidIsRefusedForItsOwnReason(t *testing.T) {
	known := schemas(t)
	names(t, "testdata/invalid/*.yaml", invalid)
	for name, reason := range invalid {
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(filepath.Join("testdata", "invalid", name+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			err = known.Check(content)
			if err == nil || !strings.Contains(err.Error(), reason) || strings.Count(err.Error(), "- at '") > 1 {
				t.Errorf("got %v, want %q alone", err, reason)
			}
		})
	}
}

// refused :: kustomization → what must be said of it instead of rendering it
var refused = map[string]string{
	"caller-auth-before-sidecar":    "components/caller-auth': test",
	"classic-job":                   "a classic sidecar would keep this Job from completing",
	"sidecar-socket-before-sidecar": "components/sidecar-socket': test",
	"socket-after-classic":          "components/sidecar-socket': test",
	"tls-before-sidecar":            "components/tls': test",
}

func TestComponentsThatDoNotFitAreRefused(t *testing.T) {
	names(t, "testdata/refused/*", refused)
	for name, reason := range refused {
		t.Run(name, func(t *testing.T) {
			rendered, err := manifest.Build(filepath.Join("testdata", "refused", name))
			if err == nil || !strings.Contains(err.Error(), reason) {
				t.Errorf("got %q (%v), want %q", rendered, err, reason)
			}
		})
	}
}

// names fails for a fixture that no table has: it would be checked by nobody.
func names(t *testing.T, pattern string, table map[string]string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) != len(table) {
		t.Errorf("%s: there are %d fixtures (%v) and %d in the table", pattern, len(files), err, len(table))
	}
}
