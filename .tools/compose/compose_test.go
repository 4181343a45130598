// Package compose checks deploy/compose.yaml, with the library that docker compose reads it with.
package compose

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const file = "../../deploy/compose.yaml"

func load(t *testing.T, path string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{path}, cli.WithResolvedPaths(true), cli.WithConsistency(true))
	if err != nil {
		t.Fatal(err)
	}
	return options.LoadProject(t.Context())
}

func loaded(t *testing.T) *types.Project {
	t.Helper()
	project, err := load(t, file)
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestEverythingThatTheProxyWorksWithIsThere(t *testing.T) {
	if got, want := loaded(t).ServiceNames(), []string{"cstproxy", "portal", "prometheus", "redis"}; !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("services %q, want %q", got, want)
	}
}

func TestNoServiceMayMoreThanItNeeds(t *testing.T) {
	for name, service := range loaded(t).Services {
		user, _, _ := strings.Cut(service.User, ":")
		for what, holds := range map[string]bool{
			"a read-only root":         service.ReadOnly,
			"no capability":            slices.Equal(service.CapDrop, []string{"ALL"}) && len(service.CapAdd) == 0 && !service.Privileged,
			"no new privileges":        slices.Contains(service.SecurityOpt, "no-new-privileges:true"),
			"a user who is not root":   user != "" && user != "0" && strings.Trim(user, "0123456789") == "",
			"a limit of memory":        service.MemLimit > 0,
			"a limit of processes":     service.PidsLimit > 0,
			"a check of its health":    service.HealthCheck != nil && len(service.HealthCheck.Test) > 1,
			"no namespace of the host": service.NetworkMode == "" && service.Pid == "" && service.Ipc == "",
		} {
			if !holds {
				t.Errorf("%s lacks %s", name, what)
			}
		}
	}
}

func TestNothingIsReachedFromAnotherMachine(t *testing.T) {
	for name, service := range loaded(t).Services {
		for _, port := range service.Ports {
			if address, err := netip.ParseAddr(port.HostIP); err != nil || !address.IsLoopback() {
				t.Errorf("%s publishes %s on %q", name, port.Published, port.HostIP)
			}
		}
	}
}

func TestSecretsAreFilesAndInNoEnvironment(t *testing.T) {
	project := loaded(t)
	var secrets []string
	for name, secret := range project.Secrets {
		text, err := os.ReadFile(secret.File)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		secrets = append(secrets, strings.TrimSpace(string(text)))
	}
	for name, service := range project.Services {
		for variable, value := range service.Environment {
			if value != nil && slices.Contains(secrets, *value) {
				t.Errorf("%s has a secret in %s", name, variable)
			}
			if value != nil && strings.HasPrefix(*value, "/run/secrets/") && !has(service, filepath.Base(*value)) {
				t.Errorf("%s is told of %s, which is not given to it", name, *value)
			}
		}
	}
}

func has(service types.ServiceConfig, secret string) bool {
	return slices.ContainsFunc(service.Secrets, func(s types.ServiceSecretConfig) bool { return s.Source == secret })
}

func TestFileThatIsNoComposeFileIsRefused(t *testing.T) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"a field of its own":      {"stop_grace_period:", "stop_grace_time:"},
		"a secret nobody defines": {"secrets: [portal-api-key]", "secrets: [portal-api-keys]"},
		"a duration that is none": {"interval: 5s", "interval: often"},
	} {
		wrong := filepath.Join(t.TempDir(), "compose.yaml")
		if err := os.WriteFile(wrong, []byte(strings.Replace(string(text), change[0], change[1], 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := load(t, wrong); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}
