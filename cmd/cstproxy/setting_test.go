package main

import (
	"context"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v3"
)

func settingOf(t *testing.T, variable string) setting {
	t.Helper()
	list := settings()
	index := slices.IndexFunc(list, func(s setting) bool { return s.variable == variable })
	if index < 0 {
		t.Fatalf("%s is not a setting", variable)
	}
	return list[index]
}

func TestSettingsAreThoseOfTheManual(t *testing.T) {
	t.Parallel()
	want := [][]string{
		{"PORTAL_API_KEY", "", ""},
		{"PORTAL_API_KEY_FILE", "portal-api-key-file", ""},
		{"PORTAL_API_URL", "portal-api-url", "https://api.portalhq.io"},
		{"PORTAL_MPC_URL", "portal-mpc-url", "https://mpc-client.portalhq.io"},
		{"REDIS_URL", "", ""},
		{"REDIS_URL_FILE", "redis-url-file", ""},
		{"CSTPROXY_LISTEN", "listen", "127.0.0.1:8080"},
		{"CSTPROXY_ADMIN_LISTEN", "admin-listen", "127.0.0.1:9090"},
		{"CSTPROXY_SOCKET_MODE", "socket-mode", "0660"},
		{"CSTPROXY_CALLERS_FILE", "callers-file", ""},
		{"CSTPROXY_CALLER_KEY", "", ""},
		{"CSTPROXY_CALLER_KEY_FILE", "caller-key-file", ""},
		{"CSTPROXY_PORTAL_API_VERSION", "portal-api-version", "v1"},
		{"CSTPROXY_IDLE_TTL", "idle-ttl", "24h"},
		{"CSTPROXY_REFRESH_WINDOW", "refresh-window", "168h"},
		{"CSTPROXY_SAFETY_MARGIN", "safety-margin", "1m"},
		{"CSTPROXY_MIN_TTL", "min-ttl", "5m"},
		{"CSTPROXY_REFRESH", "refresh", "probe"},
		{"CSTPROXY_MINT_AHEAD", "mint-ahead", "0s"},
		{"CSTPROXY_PASSTHROUGH", "passthrough", ""},
		{"CSTPROXY_RETRY_ENCLAVE", "retry-enclave", "false"},
		{"CSTPROXY_PASSTHROUGH_TIMEOUT", "passthrough-timeout", "1m"},
		{"CSTPROXY_PORTAL_TIMEOUT", "portal-timeout", "10s"},
		{"CSTPROXY_MINT_RATE", "mint-rate", "200/m"},
		{"CSTPROXY_PROBE_RATE", "probe-rate", "200/m"},
		{"CSTPROXY_REDIS_DOWN", "redis-down", "mint"},
		{"CSTPROXY_KEY_PREFIX", "key-prefix", "cstproxy"},
		{"CSTPROXY_MEMORY_TTL", "memory-ttl", "30s"},
		{"CSTPROXY_MEMORY_ENTRIES", "memory-entries", "100000"},
		{"CSTPROXY_SEAL_KEYS_FILE", "seal-keys-file", ""},
		{"PORTAL_API_KEY_NEXT", "", ""},
		{"PORTAL_API_KEY_NEXT_FILE", "portal-api-key-next-file", ""},
		{"CSTPROXY_PORTAL_PROXY", "portal-proxy", "off"},
		{"REDIS_USERNAME", "", ""},
		{"REDIS_USERNAME_FILE", "redis-username-file", ""},
		{"REDIS_PASSWORD", "", ""},
		{"REDIS_PASSWORD_FILE", "redis-password-file", ""},
		{"REDIS_CA_FILE", "redis-ca-file", ""},
		{"REDIS_CERT_FILE", "redis-cert-file", ""},
		{"REDIS_KEY_FILE", "redis-key-file", ""},
		{"CSTPROXY_TLS_CERT_FILE", "tls-cert-file", ""},
		{"CSTPROXY_TLS_KEY_FILE", "tls-key-file", ""},
		{"CSTPROXY_TLS_CLIENT_CA_FILE", "tls-client-ca-file", ""},
		{"CSTPROXY_ADMIN_TLS_CERT_FILE", "admin-tls-cert-file", ""},
		{"CSTPROXY_ADMIN_TLS_KEY_FILE", "admin-tls-key-file", ""},
		{"CSTPROXY_MAX_CONNECTIONS", "max-connections", "10000"},
		{"CSTPROXY_MAX_IN_FLIGHT", "max-in-flight", "5000"},
		{"CSTPROXY_MAX_WAITING", "max-waiting", "4000"},
		{"CSTPROXY_MAX_AT_PORTAL", "max-at-portal", "500"},
		{"CSTPROXY_DRAIN_DELAY", "drain-delay", "0s"},
		{"CSTPROXY_AUDIT", "audit", "off"},
		{"CSTPROXY_AUDIT_STRICT", "audit-strict", "false"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "otel-exporter-otlp-endpoint", ""},
		{"OTEL_EXPORTER_OTLP_HEADERS", "", ""},
		{"OTEL_EXPORTER_OTLP_HEADERS_FILE", "otel-exporter-otlp-headers-file", ""},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "otel-exporter-otlp-protocol", "http/protobuf"},
		{"OTEL_SERVICE_NAME", "otel-service-name", ""},
		{"OTEL_RESOURCE_ATTRIBUTES", "otel-resource-attributes", ""},
		{"OTEL_TRACES_SAMPLER", "otel-traces-sampler", ""},
		{"OTEL_TRACES_SAMPLER_ARG", "otel-traces-sampler-arg", ""},
		{"CSTPROXY_LOG_LEVEL", "log-level", "info"},
		{"CSTPROXY_LOG_FORMAT", "log-format", "json"},
	}
	var got [][]string
	for _, s := range settings() {
		got = append(got, []string{s.variable, s.flag, s.fallback})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("variable, flag, default (-want +got):\n%s", diff)
	}
}

func TestEverySettingSaysWhatItDoesAndWhatItAllows(t *testing.T) {
	t.Parallel()
	for _, s := range settings() {
		t.Run(s.variable, func(t *testing.T) {
			t.Parallel()
			if s.usage == "" || s.allowed == "" {
				t.Errorf("usage %q, allowed %q: want both", s.usage, s.allowed)
			}
			if s.secret() {
				settingOf(t, s.variable+fileSuffix)
			}
		})
	}
}

func TestEveryRuleIsAboutSettings(t *testing.T) {
	t.Parallel()
	for _, rule := range append(bounds(), relations()...) {
		for _, variable := range rule.of {
			settingOf(t, variable)
		}
		if got, want := strings.Count(rule.want, "%s"), len(rule.of)-1; got != want {
			t.Errorf("%q has %d gaps for %d settings", rule.want, got, want)
		}
	}
}

// parse runs a command line with the setting flags and returns what was given.
func parse(t *testing.T, arguments ...string) (map[string]string, error) {
	t.Helper()
	var flags map[string]string
	command := cli.Command{
		Name: "serve", Flags: settingFlags(), Writer: io.Discard, ErrWriter: io.Discard,
		Action: func(_ context.Context, command *cli.Command) error { flags = givenFlags(command); return nil },
	}
	return flags, command.Run(t.Context(), append([]string{"serve"}, arguments...))
}

func TestOnlyTheFlagsOnTheCommandLineAreGiven(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		arguments []string
		want      map[string]string
	}{
		"none":               {nil, map[string]string{}},
		"with an equal sign": {[]string{"--idle-ttl=3s"}, map[string]string{"idle-ttl": "3s"}},
		"as two words":       {[]string{"--idle-ttl", "3s", "--listen", ":1"}, map[string]string{"idle-ttl": "3s", "listen": ":1"}},
		"empty":              {[]string{"--redis-url-file="}, map[string]string{"redis-url-file": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parse(t, tt.arguments...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("given flags (-want +got):\n%s", diff)
			}
		})
	}
}

func TestASecretHasNoFlag(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--portal-api-key=x", "--redis-url=x"} {
		if _, err := parse(t, flag); err == nil {
			t.Errorf("%s is taken", flag)
		}
	}
}

func TestTheHelpOfAFlagNamesItsVariableAndItsDefault(t *testing.T) {
	t.Parallel()
	for _, flag := range settingFlags() {
		if flag.Names()[0] != "idle-ttl" {
			continue
		}
		const want = "--idle-ttl string\thow long Portal keeps a token that is not used; at most CSTPROXY_REFRESH_WINDOW: " +
			"a Go duration of 1s or more, such as 24h [$CSTPROXY_IDLE_TTL] (default: 24h)"
		if diff := cmp.Diff(want, flag.String()); diff != "" {
			t.Errorf("help (-want +got):\n%s", diff)
		}
	}
}

func TestRateIsANumberPerPeriod(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Rate{
		"0":        {},
		"1/s":      {1, time.Second},
		"200/m":    {200, time.Minute},
		"3/h":      {3, time.Hour},
		"100000/s": {100000, time.Second},
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			var got Rate
			if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
				t.Fatalf("got %#v, %v, want %#v", got, err, want)
			}
			if got.String() != text {
				t.Errorf("prints as %q, want %q", got, text)
			}
		})
	}
}

func TestRateRefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "200", "/m", "0/m", "-1/m", "+1/m", "1.5/s", "1/d", "1/min", "1/", "1/s/s", " 1/s", "1/s ", "1 /s", "100001/s", "2147483648/s", "m"} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			got := Rate{7, time.Hour}
			if err := got.UnmarshalText([]byte(text)); err == nil || got != (Rate{7, time.Hour}) {
				t.Errorf("got %v, %v, want an error and the rate as it was", got, err)
			}
		})
	}
}

func TestARateOfAnotherPeriodStillPrints(t *testing.T) {
	t.Parallel()
	if got := (Rate{5, 2 * time.Second}).String(); got != "5/2s" {
		t.Errorf("got %q", got)
	}
}

func TestBaseURLIsReadyForAPath(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]baseURL{
		"https://api.portalhq.io":     "https://api.portalhq.io",
		"https://api.portalhq.io/":    "https://api.portalhq.io",
		"HTTPS://api.portalhq.io":     "https://api.portalhq.io",
		"http://localhost:8080/p/q//": "http://localhost:8080/p/q",
		"http://[::1]:65535":          "http://[::1]:65535",
		"http://[::1]":                "http://[::1]",
		"https://h/a%2Fb/":            "https://h/a%2Fb",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			var got baseURL
			if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		})
	}
}

func TestBaseURLRefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "/", "api.portalhq.io", "//api.portalhq.io", "https://", "https:///path", "https://:443", "https:api.portalhq.io", "ftp://h", "unix:///x",
		"https://u@h", "https://u:p@h", "https://@h", "https://h?", "https://h?q=1", "https://h#", "https://h#f", "https://h:", "https://h:65536",
		"https://[::1]:65536", "https://h:x", "https://h h", " https://h", "https://h\n", "%",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			var got baseURL
			if err := got.UnmarshalText([]byte(text)); err == nil {
				t.Errorf("taken as %q", got)
			}
		})
	}
}

func TestListenAddressPrintsAsItReads(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"127.0.0.1:8080":        "127.0.0.1:8080",
		":9090":                 ":9090",
		"[::1]:0":               "[::1]:0",
		"[fe80::1%eth0]:80":     "[fe80::1%eth0]:80",
		"LocalHost:0080":        "localhost:80",
		"unix:/run/cst.sock":    "unix:/run/cst.sock",
		"unix:///run//cst.sock": "unix:/run/cst.sock",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			var got listenAddress
			if err := got.UnmarshalText([]byte(text)); err != nil || got.String() != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		})
	}
}

func TestLogLevelIsThatOfSlog(t *testing.T) {
	t.Parallel()
	levels := settingOf(t, "CSTPROXY_LOG_LEVEL").oneOf
	for _, level := range append(levels, "") {
		var want slog.Level
		if level != "" && want.UnmarshalText([]byte(level)) != nil {
			t.Fatalf("slog does not know %q", level)
		}
		if got := logLevel(level).Level(); got != want {
			t.Errorf("%q is %v, want %v", level, got, want)
		}
	}
}

func TestEveryFieldOfConfigIsASetting(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range settings() {
		if s.variable == "" || seen[s.variable] {
			t.Errorf("field %s has variable %q: want one of its own", s.field, s.variable)
		}
		seen[s.variable] = true
	}
	if got, want := len(seen), reflect.TypeFor[Config]().NumField(); got != want {
		t.Errorf("%d settings for %d fields", got, want)
	}
}

// Somebody will put the key where the path of its file belongs.
func TestAKeyInThePlaceOfItsFileIsNotShown(t *testing.T) {
	t.Parallel()
	const key = "canary-portal-api-key"
	_, err := loadConfig([]string{"PORTAL_API_KEY_FILE=" + key}, nil)
	if err == nil || strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "PORTAL_API_KEY_FILE") {
		t.Errorf("got %v, want an error that names the setting, and not what was given", err)
	}
}
