package chart_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// everything has each setting once, and each file that a setting may name.
const everything = `
cstproxy:
  portal: {nextKey: next}
  redis: {usernameKey: username, passwordKey: password, caKey: ca.crt, clientSecretName: client}
  sealKeys: {secretName: seal-keys}
  tls: {enabled: true, clientCAKey: ca.crt}
  callerAuth: {enabled: true}
  data: {listen: socket}
  settings:
    audit: log
    auditStrict: false
    collectorURL: http://collector.example:4318
    httpsProxy: http://proxy.example:3128
    idleTTL: 24h
    keyPrefix: wallet
    logFormat: text
    logLevel: debug
    maxAtPortal: 1000000
    maxConnections: 20000
    maxInFlight: 10000
    maxWaiting: 8000
    memoryEntries: 2147483647
    memoryTTL: "0"
    passthrough: client,enclave
    passthroughTimeout: 5m
    retryEnclave: true
    minTTL: 1h30m
    mintAhead: 6h
    mintRate: "0"
    noProxy: 10.0.0.0/8,.svc
    portalAPIURL: https://portal.example
    portalAPIVersion: v3
    portalMPCURL: https://mpc.example
    portalProxy: environment
    portalTimeout: 1.5s
    probeRate: 100/m
    redisDown: fail
    refresh: observe
    refreshWindow: 168h
    resourceAttributes: team=wallets
    safetyMargin: 90s
    serviceName: wallets
    tracesSampler: parentbased_traceidratio
    tracesSamplerArg: "0.1"
`

// notInTheChart are settings that a chart has no place for, and why.
func notInTheChart() map[string]string {
	return map[string]string{
		"PORTAL_API_KEY":                  "a secret in a variable, which never changes",
		"PORTAL_API_KEY_NEXT":             "likewise",
		"REDIS_URL":                       "likewise",
		"REDIS_USERNAME":                  "likewise",
		"REDIS_PASSWORD":                  "likewise",
		"OTEL_EXPORTER_OTLP_HEADERS":      "likewise",
		"OTEL_EXPORTER_OTLP_HEADERS_FILE": "a collector in the cluster asks for none",
		"OTEL_EXPORTER_OTLP_PROTOCOL":     "there is one alone",
		"CSTPROXY_CALLER_KEY":             "for who asks the proxy, not for the proxy",
		"CSTPROXY_CALLER_KEY_FILE":        "likewise",
		"CSTPROXY_ADMIN_TLS_CERT_FILE":    "the probes and the PodMonitor ask in clear",
		"CSTPROXY_ADMIN_TLS_KEY_FILE":     "likewise",
	}
}

func environment(t *testing.T, values map[string]any) map[string]string {
	t.Helper()
	variables := map[string]string{}
	for _, v := range partOf(t, mustRender(t, values), "Deployment").Container.Env {
		if _, twice := variables[v.Name]; twice || v.ValueFrom != nil {
			t.Errorf("%s: there twice, or from elsewhere", v.Name)
		}
		variables[v.Name] = v.Value
	}
	return variables
}

func TestSettingsReachTheContainerAsTheyAre(t *testing.T) {
	t.Parallel()
	got := environment(t, parse(t, everything))
	for variable, want := range map[string]string{
		"CSTPROXY_AUDIT":               "log",
		"CSTPROXY_AUDIT_STRICT":        "false",
		"CSTPROXY_IDLE_TTL":            "24h",
		"CSTPROXY_KEY_PREFIX":          "wallet",
		"CSTPROXY_LOG_FORMAT":          "text",
		"CSTPROXY_LOG_LEVEL":           "debug",
		"CSTPROXY_MAX_AT_PORTAL":       "1000000",
		"CSTPROXY_MAX_CONNECTIONS":     "20000",
		"CSTPROXY_MAX_IN_FLIGHT":       "10000",
		"CSTPROXY_MAX_WAITING":         "8000",
		"CSTPROXY_MEMORY_ENTRIES":      "2147483647",
		"CSTPROXY_MEMORY_TTL":          "0",
		"CSTPROXY_MIN_TTL":             "1h30m",
		"CSTPROXY_MINT_AHEAD":          "6h",
		"CSTPROXY_MINT_RATE":           "0",
		"CSTPROXY_PASSTHROUGH":         "client,enclave",
		"CSTPROXY_PASSTHROUGH_TIMEOUT": "5m",
		"CSTPROXY_RETRY_ENCLAVE":       "true",
		"CSTPROXY_PORTAL_API_VERSION":  "v3",
		"CSTPROXY_PORTAL_PROXY":        "environment",
		"CSTPROXY_PORTAL_TIMEOUT":      "1.5s",
		"CSTPROXY_PROBE_RATE":          "100/m",
		"CSTPROXY_REDIS_DOWN":          "fail",
		"CSTPROXY_REFRESH":             "observe",
		"CSTPROXY_REFRESH_WINDOW":      "168h",
		"CSTPROXY_SAFETY_MARGIN":       "90s",
		"OTEL_EXPORTER_OTLP_ENDPOINT":  "http://collector.example:4318",
		"OTEL_RESOURCE_ATTRIBUTES":     "team=wallets",
		"OTEL_SERVICE_NAME":            "wallets",
		"OTEL_TRACES_SAMPLER":          "parentbased_traceidratio",
		"OTEL_TRACES_SAMPLER_ARG":      "0.1",
		"HTTPS_PROXY":                  "http://proxy.example:3128",
		"NO_PROXY":                     "10.0.0.0/8,.svc",
		"PORTAL_API_URL":               "https://portal.example",
		"PORTAL_MPC_URL":               "https://mpc.example",
	} {
		if got[variable] != want {
			t.Errorf("%s=%q, want %q", variable, got[variable], want)
		}
	}
}

// TestNamesStayTextWhateverTheyLookLike has names that YAML takes for numbers, booleans or nothing unless they are quoted.
func TestNamesStayTextWhateverTheyLookLike(t *testing.T) {
	t.Parallel()
	const values = `
clientId: "0123"
cstproxy:
  portal: {secretName: "123"}
  redis: {secretName: "null", clientSecretName: "1e3"}
  sealKeys: {secretName: "0x1f"}
  tls: {enabled: true, secretName: "1.5", caKey: "1"}
  callerAuth: {enabled: true, configMapName: "true", key: "2", audience: "no"}
`
	got := map[string]string{}
	for _, v := range partOf(t, mustRender(t, parse(t, values)), "Deployment").Volumes {
		switch {
		case v.Secret != nil:
			got[v.Name] = v.Secret.SecretName
			for _, item := range v.Secret.Items {
				got[v.Name+" item"] = item.Key
			}
		case v.ConfigMap != nil:
			got[v.Name] = v.ConfigMap.Name
		case v.Name == "cstproxy-caller":
			got[v.Name] = v.Projected.Sources[0].ServiceAccountToken.Audience
		}
	}
	want := map[string]string{
		"cstproxy-portal": "123", "cstproxy-redis": "null", "cstproxy-redis-client": "1e3", "cstproxy-seal-keys": "0x1f", "cstproxy-tls": "1.5",
		"cstproxy-ca": "1.5", "cstproxy-ca item": "1", "cstproxy-callers": "true", "cstproxy-caller": "no",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEverySettingOfTheSchemaIsTried(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(library, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties struct {
			Settings struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal(content, &schema); err != nil {
		t.Fatal(err)
	}
	tried := parse(t, everything)["cstproxy"].(map[string]any)["settings"].(map[string]any)
	for setting := range schema.Properties.Settings.Properties {
		if _, there := tried[setting]; !there {
			t.Errorf("%s is not in everything", setting)
		}
	}
	without := environment(t, nil)
	if with := environment(t, parse(t, everything)); len(with) < len(without)+len(tried) {
		t.Errorf("%d variables, %d without settings: want one for each of %d settings at least", len(with), len(without), len(tried))
	}
}

// TestEverySettingOfTheProductIsInTheChart goes by the table in README.md, so that a new setting is not forgotten here.
func TestEverySettingOfTheProductIsInTheChart(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `((?:CSTPROXY|PORTAL|REDIS|OTEL)_[A-Z_]+)` \\|").FindAllSubmatch(readme, -1)
	if len(rows) == 0 {
		t.Fatal("there is no setting in README.md")
	}
	chart := environment(t, parse(t, everything))
	classic := environment(t, parse(t, "cstproxy: {mode: classic}"))
	left := notInTheChart()
	for _, row := range rows {
		variable := string(row[1])
		_, native := chart[variable]
		_, old := classic[variable]
		_, out := left[variable]
		if (native || old) == out {
			t.Errorf("%s: in the chart %t, in notInTheChart %t", variable, native || old, out)
		}
	}
}

func TestGoMemoryLimitIsNineTenths(t *testing.T) {
	t.Parallel()
	for memory, want := range map[string]string{
		"32Mi": "28MiB", "64Mi": "57MiB", "100Mi": "90MiB", "129Mi": "116MiB", "1Gi": "921MiB", "2Gi": "1843MiB",
	} {
		t.Run(memory, func(t *testing.T) {
			t.Parallel()
			got := environment(t, parse(t, "cstproxy: {resources: {limits: {memory: "+memory+"}}}"))["GOMEMLIMIT"]
			if got != want {
				t.Errorf("GOMEMLIMIT=%s, want %s", got, want)
			}
		})
	}
}

// TestSecurityContextIsTheSameWhateverTheValues is about every case, production and the odd ones included.
func TestSecurityContextIsTheSameWhateverTheValues(t *testing.T) {
	t.Parallel()
	want := partOf(t, mustRender(t, nil), "Deployment").Container.SecurityContext
	for _, name := range slices.DeleteFunc(caseNames(t), func(name string) bool { return name == "job" }) {
		got := partOf(t, mustRender(t, caseValues(t, name)), "Deployment").Container.SecurityContext
		if context(got) != context(want) {
			t.Errorf("%s: %s, want %s", name, context(got), context(want))
		}
	}
}

func context(c *corev1.SecurityContext) string { return c.String() }
