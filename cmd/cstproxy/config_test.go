package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/session"
)

const testKey = "portal-key-4711"

// withKey is the least environment that works, and more.
func withKey(more ...string) []string { return append([]string{"PORTAL_API_KEY=" + testKey}, more...) }

// mistakes loads a configuration that must be wrong and returns the lines of its error.
func mistakes(t *testing.T, environ []string, flags map[string]string) []string {
	t.Helper()
	config, err := loadConfig(environ, flags)
	if _, ok := errors.AsType[configError](err); !ok {
		t.Fatalf("got error %v, want a configError", err)
	}
	if diff := cmp.Diff(Config{}, config); diff != "" {
		t.Errorf("a wrong configuration is handed out (-want +got):\n%s", diff)
	}
	return strings.Split(err.Error(), "\n")
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// callersFile names a caller.
var callersFile = `callers: [{name: backend, keys: ["sha256:` + strings.Repeat("ab", 32) + `"], routes: ["*"], clients: ["*"]}]` + "\n"

func defaults() Config {
	return Config{
		PortalAPIKey:     session.NewSecret(testKey),
		PortalAPIURL:     "https://api.portalhq.io",
		PortalMPCURL:     "https://mpc-client.portalhq.io",
		Listen:           listenAddress{"tcp", "127.0.0.1:8080"},
		AdminListen:      listenAddress{"tcp", "127.0.0.1:9090"},
		SocketMode:       0o660,
		PortalAPIVersion: apiV1,
		IdleTTL:          24 * time.Hour,
		RefreshWindow:    7 * 24 * time.Hour,
		SafetyMargin:     time.Minute,
		MinTTL:           5 * time.Minute,
		Refresh:          session.RefreshProbe,
		PortalTimeout:    10 * time.Second,

		PassthroughTimeout: time.Minute,

		MintRate:       Rate{200, time.Minute},
		ProbeRate:      Rate{200, time.Minute},
		RedisDown:      redisDownMint,
		KeyPrefix:      "cstproxy",
		MemoryTTL:      30 * time.Second,
		MemoryEntries:  100_000,
		PortalProxy:    portalProxyOff,
		MaxConnections: 10_000,
		MaxInFlight:    5000,
		MaxWaiting:     4000,
		MaxAtPortal:    500,
		Audit:          auditTarget{Kind: auditOff},

		CollectorProtocol: "http/protobuf",

		LogLevel:  "info",
		LogFormat: logJSON,
	}
}

// TestEverySettingHasItsEffect gives each setting in its variable and as its flag. The case "the key alone" holds the
// defaults; every other one holds what differs from them.
func TestEverySettingHasItsEffect(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "redis://:file@host:6379\n")
	callers := writeFile(t, callersFile)
	next := writeFile(t, "next-key\n")
	headers := writeFile(t, "a=b\n")
	for name, change := range map[string]struct {
		variable, value string
		want            func(*Config)
	}{
		"the key alone":          {"", "", func(*Config) {}},
		"Portal's address":       {"PORTAL_API_URL", "http://localhost:9999/portal/", func(c *Config) { c.PortalAPIURL = "http://localhost:9999/portal" }},
		"Portal's MPC address":   {"PORTAL_MPC_URL", "https://mpc.test", func(c *Config) { c.PortalMPCURL = "https://mpc.test" }},
		"Redis":                  {"REDIS_URL", "redis://:pw@host:6379/0", func(c *Config) { c.RedisURL = session.NewSecret("redis://:pw@host:6379/0") }},
		"Redis from a file":      {"REDIS_URL_FILE", file, func(c *Config) { c.RedisURL, c.RedisURLFile = session.NewSecret("redis://:file@host:6379"), file }},
		"the data API's address": {"CSTPROXY_LISTEN", "[::1]:8081", func(c *Config) { c.Listen = listenAddress{"tcp", "[::1]:8081"} }},
		"the admin port":         {"CSTPROXY_ADMIN_LISTEN", "unix:/run/cst/admin.sock", func(c *Config) { c.AdminListen = listenAddress{"unix", "/run/cst/admin.sock"} }},
		"the socket's mode":      {"CSTPROXY_SOCKET_MODE", "0600", func(c *Config) { c.SocketMode = 0o600 }},
		"the callers":            {"CSTPROXY_CALLERS_FILE", callers, func(c *Config) { c.CallersFile = callers }},
		"the version of the API": {"CSTPROXY_PORTAL_API_VERSION", "v3", func(c *Config) { c.PortalAPIVersion = apiV3 }},
		"the idle time":          {"CSTPROXY_IDLE_TTL", "12h", func(c *Config) { c.IdleTTL = 12 * time.Hour }},
		"the window":             {"CSTPROXY_REFRESH_WINDOW", "48h", func(c *Config) { c.RefreshWindow = 48 * time.Hour }},
		"the margin":             {"CSTPROXY_SAFETY_MARGIN", "90s", func(c *Config) { c.SafetyMargin = 90 * time.Second }},
		"the least life":         {"CSTPROXY_MIN_TTL", "10m", func(c *Config) { c.MinTTL = 10 * time.Minute }},
		"a fetch counts":         {"CSTPROXY_REFRESH", "assume", func(c *Config) { c.Refresh = session.RefreshAssume }},
		"a fetch does not count": {"CSTPROXY_REFRESH", "observe", func(c *Config) { c.Refresh = session.RefreshObserve }},
		"the time ahead":         {"CSTPROXY_MINT_AHEAD", "6h", func(c *Config) { c.MintAhead = 6 * time.Hour }},
		"what is passed on":      {"CSTPROXY_PASSTHROUGH", "client, custodian", func(c *Config) { c.Passthrough = families{session.RouteClient, session.RouteCustodian} }},
		"the time for that":      {"CSTPROXY_PASSTHROUGH_TIMEOUT", "5s", func(c *Config) { c.PassthroughTimeout = 5 * time.Second }},
		"the patience":           {"CSTPROXY_PORTAL_TIMEOUT", "3s", func(c *Config) { c.PortalTimeout = 3 * time.Second }},
		"the mint budget":        {"CSTPROXY_MINT_RATE", "5/s", func(c *Config) { c.MintRate = Rate{5, time.Second} }},
		"no mint budget":         {"CSTPROXY_MINT_RATE", "0", func(c *Config) { c.MintRate = Rate{} }},
		"the probe budget":       {"CSTPROXY_PROBE_RATE", "1000/h", func(c *Config) { c.ProbeRate = Rate{1000, time.Hour} }},
		"failing without Redis":  {"CSTPROXY_REDIS_DOWN", "fail", func(c *Config) { c.RedisDown = redisDownFail }},
		"the namespace":          {"CSTPROXY_KEY_PREFIX", "a.b-c_d:E9", func(c *Config) { c.KeyPrefix = "a.b-c_d:E9" }},
		"no look into memory":    {"CSTPROXY_MEMORY_TTL", "0", func(c *Config) { c.MemoryTTL = 0 }},
		"the size of the memory": {"CSTPROXY_MEMORY_ENTRIES", "7", func(c *Config) { c.MemoryEntries = 7 }},
		"the next key":           {"PORTAL_API_KEY_NEXT", "next-key", func(c *Config) { c.PortalAPIKeyNext = session.NewSecret("next-key") }},
		"the next key's file": {"PORTAL_API_KEY_NEXT_FILE", next, func(c *Config) {
			c.PortalAPIKeyNext, c.PortalAPIKeyNextFile = session.NewSecret("next-key"), next
		}},
		"a proxy to Portal":       {"CSTPROXY_PORTAL_PROXY", "environment", func(c *Config) { c.PortalProxy = portalProxyEnvironment }},
		"fewer connections":       {"CSTPROXY_MAX_CONNECTIONS", "100", func(c *Config) { c.MaxConnections, c.MaxInFlight, c.MaxWaiting = 100, 50, 40 }},
		"fewer requests":          {"CSTPROXY_MAX_IN_FLIGHT", "1000", func(c *Config) { c.MaxInFlight, c.MaxWaiting = 1000, 800 }},
		"fewer who wait":          {"CSTPROXY_MAX_WAITING", "10", func(c *Config) { c.MaxWaiting = 10 }},
		"fewer at Portal":         {"CSTPROXY_MAX_AT_PORTAL", "20", func(c *Config) { c.MaxAtPortal = 20 }},
		"a delay of the drain":    {"CSTPROXY_DRAIN_DELAY", "15s", func(c *Config) { c.DrainDelay = 15 * time.Second }},
		"an audit in the log":     {"CSTPROXY_AUDIT", "log", func(c *Config) { c.Audit = auditTarget{Kind: auditLog} }},
		"an audit in a file":      {"CSTPROXY_AUDIT", "file:/var/log//audit", func(c *Config) { c.Audit = auditTarget{auditFile, "/var/log/audit"} }},
		"the audit's default":     {"CSTPROXY_AUDIT_STRICT", "false", func(*Config) {}},
		"a collector":             {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/", func(c *Config) { c.CollectorURL = "http://collector:4318" }},
		"the collector's headers": {"OTEL_EXPORTER_OTLP_HEADERS", "a=b", func(c *Config) { c.CollectorHeaders = session.NewSecret("a=b") }},
		"headers from a file": {"OTEL_EXPORTER_OTLP_HEADERS_FILE", headers, func(c *Config) {
			c.CollectorHeaders, c.CollectorHeadersFile = session.NewSecret("a=b"), headers
		}},
		"a protocol for nobody":   {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", func(c *Config) { c.CollectorProtocol = "grpc" }},
		"a name for traces":       {"OTEL_SERVICE_NAME", "wallets", func(c *Config) { c.ServiceName = "wallets" }},
		"what traces are about":   {"OTEL_RESOURCE_ATTRIBUTES", "a=b,c=d", func(c *Config) { c.ResourceAttributes = "a=b,c=d" }},
		"a sampler":               {"OTEL_TRACES_SAMPLER", "always_on", func(c *Config) { c.TracesSampler = "always_on" }},
		"a sampler's argument":    {"OTEL_TRACES_SAMPLER_ARG", "0.5", func(c *Config) { c.TracesSamplerArg = "0.5" }},
		"the level of the log":    {"CSTPROXY_LOG_LEVEL", "debug", func(c *Config) { c.LogLevel = "debug" }},
		"the form of a log line":  {"CSTPROXY_LOG_FORMAT", "text", func(c *Config) { c.LogFormat = logText }},
		"an empty variable":       {"CSTPROXY_IDLE_TTL", "", func(*Config) {}},
		"an empty stranger":       {"CSTPROXY_IDEL_TTL", "", func(*Config) {}},
		"variables of other sort": {"HOME", "/root", func(*Config) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := defaults()
			change.want(&want)
			checkLoads(t, want, withKey(change.variable+"="+change.value), nil)
			if hasFlag(change.variable) && change.value != "" {
				checkLoads(t, want, withKey(), map[string]string{flagName(change.variable): change.value})
			}
		})
	}
}

func hasFlag(variable string) bool {
	for _, s := range settings() {
		if s.variable == variable {
			return s.flag != ""
		}
	}
	return false
}

func checkLoads(t *testing.T, want Config, environ []string, flags map[string]string) {
	t.Helper()
	got, err := loadConfig(environ, flags)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestFlagsWinOverTheEnvironmentAndItOverTheDefault(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		environ []string
		flags   map[string]string
		want    time.Duration
	}{
		"nothing is given":                  {nil, nil, 24 * time.Hour},
		"a variable":                        {[]string{"CSTPROXY_IDLE_TTL=5h"}, nil, 5 * time.Hour},
		"a flag":                            {nil, map[string]string{"idle-ttl": "6h"}, 6 * time.Hour},
		"both":                              {[]string{"CSTPROXY_IDLE_TTL=5h"}, map[string]string{"idle-ttl": "6h"}, 6 * time.Hour},
		"a flag and a variable in error":    {[]string{"CSTPROXY_IDLE_TTL=nonsense"}, map[string]string{"idle-ttl": "6h"}, 6 * time.Hour},
		"a variable twice, the last counts": {[]string{"CSTPROXY_IDLE_TTL=5h", "CSTPROXY_IDLE_TTL=7h"}, nil, 7 * time.Hour},
		"a variable, taken back":            {[]string{"CSTPROXY_IDLE_TTL=5h", "CSTPROXY_IDLE_TTL="}, nil, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, err := loadConfig(withKey(tt.environ...), tt.flags)
			if err != nil {
				t.Fatal(err)
			}
			if config.IdleTTL != tt.want {
				t.Errorf("IdleTTL is %v, want %v", config.IdleTTL, tt.want)
			}
		})
	}
}

func TestBoundsHoldAtTheirEdge(t *testing.T) {
	t.Parallel()
	socket := func(length int) string { return "unix:/" + strings.Repeat("s", length-1) }
	callers := writeFile(t, callersFile)
	const collector = "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318"
	for name, tt := range map[string]struct {
		settings []string
		wrong    string // the variable that is blamed; empty if all is well
	}{
		"a protocol that is not spoken":           {[]string{collector, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"},
		"the protocol that is":                    {[]string{collector, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"}, ""},
		"headers that are none":                   {[]string{collector, "OTEL_EXPORTER_OTLP_HEADERS=credential"}, "OTEL_EXPORTER_OTLP_HEADERS"},
		"attributes that are none":                {[]string{collector, "OTEL_RESOURCE_ATTRIBUTES=a,b"}, "OTEL_RESOURCE_ATTRIBUTES"},
		"a sampler that nobody knows":             {[]string{collector, "OTEL_TRACES_SAMPLER=jaeger_remote"}, "OTEL_TRACES_SAMPLER"},
		"a ratio of all":                          {[]string{collector, "OTEL_TRACES_SAMPLER_ARG=1"}, ""},
		"a ratio of more":                         {[]string{collector, "OTEL_TRACES_SAMPLER_ARG=1.01"}, "OTEL_TRACES_SAMPLER_ARG"},
		"a ratio that is no number":               {[]string{collector, "OTEL_TRACES_SAMPLER_ARG=NaN"}, "OTEL_TRACES_SAMPLER_ARG"},
		"another program's, without collector":    {[]string{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_TRACES_SAMPLER=jaeger_remote", "OTEL_TRACES_SAMPLER_ARG=x"}, ""},
		"an idle time of the least":               {[]string{"CSTPROXY_IDLE_TTL=1s"}, ""},
		"an idle time of a moment less":           {[]string{"CSTPROXY_IDLE_TTL=999999999ns"}, "CSTPROXY_IDLE_TTL"},
		"as many mints as a replica can count":    {[]string{"CSTPROXY_MINT_RATE=100000/m"}, ""},
		"one mint more":                           {[]string{"CSTPROXY_MINT_RATE=100001/m"}, "CSTPROXY_MINT_RATE"},
		"no idle time":                            {[]string{"CSTPROXY_IDLE_TTL=0"}, "CSTPROXY_IDLE_TTL"},
		"a negative idle time":                    {[]string{"CSTPROXY_IDLE_TTL=-1ns"}, "CSTPROXY_IDLE_TTL"},
		"an idle time without a unit":             {[]string{"CSTPROXY_IDLE_TTL=24"}, "CSTPROXY_IDLE_TTL"},
		"an idle time of the whole window":        {[]string{"CSTPROXY_IDLE_TTL=168h"}, ""},
		"an idle time past the window":            {[]string{"CSTPROXY_IDLE_TTL=168h0m0.000000001s"}, "CSTPROXY_IDLE_TTL"},
		"a window of just the idle time":          {[]string{"CSTPROXY_REFRESH_WINDOW=24h"}, ""},
		"a window short of the idle time":         {[]string{"CSTPROXY_REFRESH_WINDOW=23h59m59.999999999s"}, "CSTPROXY_IDLE_TTL"},
		"less than nothing ahead":                 {[]string{"CSTPROXY_MINT_AHEAD=-1ns"}, "CSTPROXY_MINT_AHEAD"},
		"all but an idle time ahead":              {[]string{"CSTPROXY_MINT_AHEAD=144h"}, "CSTPROXY_MINT_AHEAD"},
		"a moment less ahead":                     {[]string{"CSTPROXY_MINT_AHEAD=143h59m59s"}, ""},
		"nothing ahead in a window of the least":  {[]string{"CSTPROXY_IDLE_TTL=1s", "CSTPROXY_REFRESH_WINDOW=1s", "CSTPROXY_MINT_AHEAD=0"}, ""},
		"a moment ahead in one":                   {[]string{"CSTPROXY_IDLE_TTL=1s", "CSTPROXY_REFRESH_WINDOW=1s", "CSTPROXY_MINT_AHEAD=1ns"}, "CSTPROXY_MINT_AHEAD"},
		"a window of the least":                   {[]string{"CSTPROXY_IDLE_TTL=1s", "CSTPROXY_REFRESH_WINDOW=1s"}, ""},
		"no window":                               {[]string{"CSTPROXY_REFRESH_WINDOW=0s"}, "CSTPROXY_REFRESH_WINDOW"},
		"no margin":                               {[]string{"CSTPROXY_SAFETY_MARGIN=0"}, ""},
		"a negative margin":                       {[]string{"CSTPROXY_SAFETY_MARGIN=-1ns"}, "CSTPROXY_SAFETY_MARGIN"},
		"a margin just under half":                {[]string{"CSTPROXY_SAFETY_MARGIN=11h59m59.999999999s"}, ""},
		"a margin of half":                        {[]string{"CSTPROXY_SAFETY_MARGIN=12h"}, "CSTPROXY_SAFETY_MARGIN"},
		"a margin that overflows when doubled":    {[]string{"CSTPROXY_SAFETY_MARGIN=2562047h"}, "CSTPROXY_SAFETY_MARGIN"},
		"no least life":                           {[]string{"CSTPROXY_MIN_TTL=0"}, ""},
		"a negative least life":                   {[]string{"CSTPROXY_MIN_TTL=-1ns"}, "CSTPROXY_MIN_TTL"},
		"a least life of all but the margin":      {[]string{"CSTPROXY_MIN_TTL=23h59m"}, ""},
		"a least life that the margin cuts":       {[]string{"CSTPROXY_MIN_TTL=23h59m0.000000001s"}, "CSTPROXY_MIN_TTL"},
		"families with a stranger":                {[]string{"CSTPROXY_PASSTHROUGH=client,wallet"}, "CSTPROXY_PASSTHROUGH"},
		"a family twice":                          {[]string{"CSTPROXY_PASSTHROUGH=client,client"}, "CSTPROXY_PASSTHROUGH"},
		"a passing of the most":                   {[]string{"CSTPROXY_PASSTHROUGH_TIMEOUT=10m"}, ""},
		"a passing past the most":                 {[]string{"CSTPROXY_PASSTHROUGH_TIMEOUT=10m1ns"}, "CSTPROXY_PASSTHROUGH_TIMEOUT"},
		"no time to pass":                         {[]string{"CSTPROXY_PASSTHROUGH_TIMEOUT=0"}, "CSTPROXY_PASSTHROUGH_TIMEOUT"},
		"an Enclave repeated and passed":          {[]string{"CSTPROXY_RETRY_ENCLAVE=true", "CSTPROXY_PASSTHROUGH=enclave"}, ""},
		"an Enclave repeated that is not passed":  {[]string{"CSTPROXY_RETRY_ENCLAVE=true", "CSTPROXY_PASSTHROUGH=client"}, "CSTPROXY_RETRY_ENCLAVE"},
		"a patience of the least":                 {[]string{"CSTPROXY_PORTAL_TIMEOUT=1ns"}, ""},
		"no patience":                             {[]string{"CSTPROXY_PORTAL_TIMEOUT=0"}, "CSTPROXY_PORTAL_TIMEOUT"},
		"a patience of the most":                  {[]string{"CSTPROXY_PORTAL_TIMEOUT=1m"}, ""},
		"a patience past the most":                {[]string{"CSTPROXY_PORTAL_TIMEOUT=1m0.000000001s"}, "CSTPROXY_PORTAL_TIMEOUT"},
		"a prefix of one character":               {[]string{"CSTPROXY_KEY_PREFIX=c"}, ""},
		"a prefix of 64 characters":               {[]string{"CSTPROXY_KEY_PREFIX=" + strings.Repeat("c", 64)}, ""},
		"a prefix of 65 characters":               {[]string{"CSTPROXY_KEY_PREFIX=" + strings.Repeat("c", 65)}, "CSTPROXY_KEY_PREFIX"},
		"a prefix with braces":                    {[]string{"CSTPROXY_KEY_PREFIX={cst}"}, "CSTPROXY_KEY_PREFIX"},
		"a prefix with a newline at its end":      {[]string{"CSTPROXY_KEY_PREFIX=cst\n"}, "CSTPROXY_KEY_PREFIX"},
		"a memory that is asked for nothing":      {[]string{"CSTPROXY_MEMORY_TTL=0s"}, ""},
		"a memory that is shorter than nothing":   {[]string{"CSTPROXY_MEMORY_TTL=-1ns"}, "CSTPROXY_MEMORY_TTL"},
		"a memory of one":                         {[]string{"CSTPROXY_MEMORY_ENTRIES=1"}, ""},
		"a memory of none":                        {[]string{"CSTPROXY_MEMORY_ENTRIES=0"}, "CSTPROXY_MEMORY_ENTRIES"},
		"a memory of the most":                    {[]string{"CSTPROXY_MEMORY_ENTRIES=2147483647"}, ""},
		"a memory past the most":                  {[]string{"CSTPROXY_MEMORY_ENTRIES=2147483648"}, "CSTPROXY_MEMORY_ENTRIES"},
		"connections of the least":                {[]string{"CSTPROXY_MAX_CONNECTIONS=4"}, ""},
		"connections of fewer":                    {[]string{"CSTPROXY_MAX_CONNECTIONS=3"}, "CSTPROXY_MAX_CONNECTIONS"},
		"connections of the most":                 {[]string{"CSTPROXY_MAX_CONNECTIONS=1000000"}, ""},
		"connections past the most":               {[]string{"CSTPROXY_MAX_CONNECTIONS=1000001"}, "CSTPROXY_MAX_CONNECTIONS"},
		"as many requests as connections":         {[]string{"CSTPROXY_MAX_IN_FLIGHT=10000"}, ""},
		"more requests than connections":          {[]string{"CSTPROXY_MAX_IN_FLIGHT=10001"}, "CSTPROXY_MAX_IN_FLIGHT"},
		"requests of the least":                   {[]string{"CSTPROXY_MAX_IN_FLIGHT=2"}, ""},
		"requests of fewer":                       {[]string{"CSTPROXY_MAX_IN_FLIGHT=1"}, "CSTPROXY_MAX_IN_FLIGHT"},
		"waiting for all requests but one":        {[]string{"CSTPROXY_MAX_WAITING=4999"}, ""},
		"waiting for all requests":                {[]string{"CSTPROXY_MAX_WAITING=5000"}, "CSTPROXY_MAX_WAITING"},
		"waiting of one":                          {[]string{"CSTPROXY_MAX_WAITING=1"}, ""},
		"waiting of none":                         {[]string{"CSTPROXY_MAX_WAITING=0"}, "CSTPROXY_MAX_WAITING"},
		"one at Portal":                           {[]string{"CSTPROXY_MAX_AT_PORTAL=1"}, ""},
		"none at Portal":                          {[]string{"CSTPROXY_MAX_AT_PORTAL=0"}, "CSTPROXY_MAX_AT_PORTAL"},
		"the most at Portal":                      {[]string{"CSTPROXY_MAX_AT_PORTAL=1000000"}, ""},
		"more than that at Portal":                {[]string{"CSTPROXY_MAX_AT_PORTAL=1000001"}, "CSTPROXY_MAX_AT_PORTAL"},
		"no delay of the drain":                   {[]string{"CSTPROXY_DRAIN_DELAY=0"}, ""},
		"a negative delay of the drain":           {[]string{"CSTPROXY_DRAIN_DELAY=-1ns"}, "CSTPROXY_DRAIN_DELAY"},
		"a delay of the most":                     {[]string{"CSTPROXY_DRAIN_DELAY=5m"}, ""},
		"a delay past the most":                   {[]string{"CSTPROXY_DRAIN_DELAY=5m0.000000001s"}, "CSTPROXY_DRAIN_DELAY"},
		"an audit in no file":                     {[]string{"CSTPROXY_AUDIT=file:"}, "CSTPROXY_AUDIT"},
		"an audit in a relative file":             {[]string{"CSTPROXY_AUDIT=file:audit"}, "CSTPROXY_AUDIT"},
		"an audit in a directory":                 {[]string{"CSTPROXY_AUDIT=file:/var/"}, "CSTPROXY_AUDIT"},
		"an unlisted audit":                       {[]string{"CSTPROXY_AUDIT=LOG"}, "CSTPROXY_AUDIT"},
		"an audit that must be":                   {[]string{"CSTPROXY_AUDIT=log", "CSTPROXY_AUDIT_STRICT=true"}, ""},
		"an audit that must be and is not":        {[]string{"CSTPROXY_AUDIT_STRICT=true"}, "CSTPROXY_AUDIT_STRICT"},
		"a strictness that is none":               {[]string{"CSTPROXY_AUDIT=log", "CSTPROXY_AUDIT_STRICT=1"}, "CSTPROXY_AUDIT_STRICT"},
		"a mode of no bits":                       {[]string{"CSTPROXY_SOCKET_MODE=0"}, ""},
		"a mode of all bits":                      {[]string{"CSTPROXY_SOCKET_MODE=0777"}, ""},
		"a mode with another bit":                 {[]string{"CSTPROXY_SOCKET_MODE=1000"}, "CSTPROXY_SOCKET_MODE"},
		"a mode that is not octal":                {[]string{"CSTPROXY_SOCKET_MODE=0680"}, "CSTPROXY_SOCKET_MODE"},
		"a mode in letters":                       {[]string{"CSTPROXY_SOCKET_MODE=rw-rw----"}, "CSTPROXY_SOCKET_MODE"},
		"the highest port":                        {[]string{"CSTPROXY_LISTEN=127.0.0.1:65535"}, ""},
		"a port past the highest":                 {[]string{"CSTPROXY_LISTEN=:65536"}, "CSTPROXY_LISTEN"},
		"a port by name":                          {[]string{"CSTPROXY_LISTEN=:http"}, "CSTPROXY_LISTEN"},
		"no port":                                 {[]string{"CSTPROXY_LISTEN=127.0.0.1"}, "CSTPROXY_LISTEN"},
		"a URL to listen on":                      {[]string{"CSTPROXY_LISTEN=http://127.0.0.1:8080"}, "CSTPROXY_LISTEN"},
		"a host with a space":                     {[]string{"CSTPROXY_LISTEN=local host:8080"}, "CSTPROXY_LISTEN"},
		"an IPv6 host":                            {[]string{"CSTPROXY_LISTEN=[::1]:8080"}, ""},
		"a socket with the longest path":          {[]string{"CSTPROXY_LISTEN=" + socket(107)}, ""},
		"a socket with too long a path":           {[]string{"CSTPROXY_LISTEN=" + socket(108)}, "CSTPROXY_LISTEN"},
		"a socket with a relative path":           {[]string{"CSTPROXY_LISTEN=unix:cst.sock"}, "CSTPROXY_LISTEN"},
		"a socket without a path":                 {[]string{"CSTPROXY_LISTEN=unix:"}, "CSTPROXY_LISTEN"},
		"a socket at the root":                    {[]string{"CSTPROXY_LISTEN=unix:/"}, "CSTPROXY_LISTEN"},
		"one address for both":                    {[]string{"CSTPROXY_LISTEN=127.0.0.1:9090"}, "CSTPROXY_ADMIN_LISTEN"},
		"one port, every interface for the data":  {[]string{"CSTPROXY_LISTEN=:9090", "CSTPROXY_CALLERS_FILE=" + callers}, "CSTPROXY_ADMIN_LISTEN"},
		"loopback by its name, without callers":   {[]string{"CSTPROXY_LISTEN=LocalHost:80"}, ""},
		"loopback's last address":                 {[]string{"CSTPROXY_LISTEN=127.255.255.255:80"}, ""},
		"an address past loopback's last":         {[]string{"CSTPROXY_LISTEN=128.0.0.0:80"}, "CSTPROXY_LISTEN"},
		"an address before loopback's first":      {[]string{"CSTPROXY_LISTEN=126.255.255.255:80"}, "CSTPROXY_LISTEN"},
		"every interface, without callers":        {[]string{"CSTPROXY_LISTEN=:8080"}, "CSTPROXY_LISTEN"},
		"every IPv4 interface, without callers":   {[]string{"CSTPROXY_LISTEN=0.0.0.0:8080"}, "CSTPROXY_LISTEN"},
		"every IPv6 interface, without callers":   {[]string{"CSTPROXY_LISTEN=[::]:8080"}, "CSTPROXY_LISTEN"},
		"any port of all, without callers":        {[]string{"CSTPROXY_LISTEN=:0"}, "CSTPROXY_LISTEN"},
		"a name, without callers":                 {[]string{"CSTPROXY_LISTEN=backend.test:8080"}, "CSTPROXY_LISTEN"},
		"a name like loopback's":                  {[]string{"CSTPROXY_LISTEN=localhost.test:8080"}, "CSTPROXY_LISTEN"},
		"a number that may be loopback's":         {[]string{"CSTPROXY_LISTEN=2130706433:8080"}, "CSTPROXY_LISTEN"},
		"a name, with callers":                    {[]string{"CSTPROXY_LISTEN=backend.test:8080", "CSTPROXY_CALLERS_FILE=" + callers}, ""},
		"callers who are not there":               {[]string{"CSTPROXY_LISTEN=:8080", "CSTPROXY_CALLERS_FILE=/no/such/callers"}, "CSTPROXY_CALLERS_FILE"},
		"callers in an empty file":                {[]string{"CSTPROXY_CALLERS_FILE=" + writeFile(t, "")}, "CSTPROXY_CALLERS_FILE"},
		"callers in half a file":                  {[]string{"CSTPROXY_CALLERS_FILE=" + writeFile(t, callersFile[:50])}, "CSTPROXY_CALLERS_FILE"},
		"one port, every interface for the admin": {[]string{"CSTPROXY_ADMIN_LISTEN=0.0.0.0:8080"}, "CSTPROXY_ADMIN_LISTEN"},
		"one port, every IPv6 interface":          {[]string{"CSTPROXY_ADMIN_LISTEN=[::]:8080"}, "CSTPROXY_ADMIN_LISTEN"},
		"one port on two hosts":                   {[]string{"CSTPROXY_ADMIN_LISTEN=127.0.0.2:8080"}, ""},
		"one port on one host in two spellings":   {[]string{"CSTPROXY_LISTEN=Localhost:080", "CSTPROXY_ADMIN_LISTEN=localhost:80"}, "CSTPROXY_ADMIN_LISTEN"},
		"any port for both":                       {[]string{"CSTPROXY_LISTEN=127.0.0.1:0", "CSTPROXY_ADMIN_LISTEN=127.0.0.1:0"}, ""},
		"one socket for both":                     {[]string{"CSTPROXY_LISTEN=unix:/run/a", "CSTPROXY_ADMIN_LISTEN=unix:/run/./a"}, "CSTPROXY_ADMIN_LISTEN"},
		"two sockets":                             {[]string{"CSTPROXY_LISTEN=unix:/run/a", "CSTPROXY_ADMIN_LISTEN=unix:/run/b"}, ""},
		"an unlisted version of the API":          {[]string{"CSTPROXY_PORTAL_API_VERSION=v2"}, "CSTPROXY_PORTAL_API_VERSION"},
		"an unlisted way to refresh":              {[]string{"CSTPROXY_REFRESH=never"}, "CSTPROXY_REFRESH"},
		"an unlisted way to do without Redis":     {[]string{"CSTPROXY_REDIS_DOWN=panic"}, "CSTPROXY_REDIS_DOWN"},
		"an unlisted level":                       {[]string{"CSTPROXY_LOG_LEVEL=INFO"}, "CSTPROXY_LOG_LEVEL"},
		"an unlisted form":                        {[]string{"CSTPROXY_LOG_FORMAT=logfmt"}, "CSTPROXY_LOG_FORMAT"},
		"a mint rate that is none":                {[]string{"CSTPROXY_MINT_RATE=fast"}, "CSTPROXY_MINT_RATE"},
		"a probe rate that is none":               {[]string{"CSTPROXY_PROBE_RATE=-1/m"}, "CSTPROXY_PROBE_RATE"},
		"Portal at another scheme":                {[]string{"PORTAL_API_URL=ftp://api.portalhq.io"}, "PORTAL_API_URL"},
		"Portal's MPC without a scheme":           {[]string{"PORTAL_MPC_URL=mpc-client.portalhq.io"}, "PORTAL_MPC_URL"},
		"Redis over TLS":                          {[]string{"REDIS_URL=rediss://host:6379"}, ""},
		"Redis at a socket":                       {[]string{"REDIS_URL=unix:///run/redis.sock?db=1"}, ""},
		"Redis in a cluster":                      {[]string{"REDIS_URL=redis://one:6379,two:6379?cluster=true"}, ""},
		"Redis in capitals":                       {[]string{"REDIS_URL=REDIS://host:6379"}, ""},
		"Redis at another scheme":                 {[]string{"REDIS_URL=http://host:6379"}, "REDIS_URL"},
		"Redis without a scheme":                  {[]string{"REDIS_URL=redis"}, "REDIS_URL"},
		"a certificate and its key":               {[]string{"CSTPROXY_TLS_CERT_FILE=/c", "CSTPROXY_TLS_KEY_FILE=/k"}, ""},
		"a certificate without its key":           {[]string{"CSTPROXY_TLS_CERT_FILE=/c"}, "CSTPROXY_TLS_CERT_FILE"},
		"a key without its certificate":           {[]string{"CSTPROXY_TLS_KEY_FILE=/k"}, "CSTPROXY_TLS_CERT_FILE"},
		"an admin certificate without its key":    {[]string{"CSTPROXY_ADMIN_TLS_CERT_FILE=/c"}, "CSTPROXY_ADMIN_TLS_CERT_FILE"},
		"an admin key without its certificate":    {[]string{"CSTPROXY_ADMIN_TLS_KEY_FILE=/k"}, "CSTPROXY_ADMIN_TLS_CERT_FILE"},
		"a client authority without TLS":          {[]string{"CSTPROXY_TLS_CLIENT_CA_FILE=/a"}, "CSTPROXY_TLS_CLIENT_CA_FILE"},
		"Redis's certificate without its key":     {[]string{"REDIS_URL=rediss://host", "REDIS_CERT_FILE=/c"}, "REDIS_CERT_FILE"},
		"Redis's key without its certificate":     {[]string{"REDIS_URL=rediss://host", "REDIS_KEY_FILE=/k"}, "REDIS_CERT_FILE"},
		"a password of no Redis":                  {[]string{"REDIS_PASSWORD=x"}, "REDIS_URL"},
		"a user of no Redis":                      {[]string{"REDIS_USERNAME=x"}, "REDIS_URL"},
		"an authority of no Redis":                {[]string{"REDIS_CA_FILE=/a"}, "REDIS_URL"},
		"a user and a password of a Redis":        {[]string{"REDIS_URL=redis://host", "REDIS_USERNAME=x", "REDIS_PASSWORD=y"}, ""},
		"an unlisted proxy":                       {[]string{"CSTPROXY_PORTAL_PROXY=http://proxy"}, "CSTPROXY_PORTAL_PROXY"},
		"Redis with a space":                      {[]string{"REDIS_URL=redis://:pass word@host"}, "REDIS_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.wrong == "" {
				if _, err := loadConfig(withKey(tt.settings...), nil); err != nil {
					t.Fatal(err)
				}
				return
			}
			got := mistakes(t, withKey(tt.settings...), nil)
			if len(got) != 1 || !strings.HasPrefix(got[0], tt.wrong+": ") {
				t.Errorf("got %q, want one mistake, of %s", got, tt.wrong)
			}
		})
	}
}

func TestAShortIdleTimeShortensTheDefaultsThatArePartsOfIt(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		settings       []string
		margin, minTTL time.Duration
	}{
		"just long enough for both":      {[]string{"CSTPROXY_IDLE_TTL=30m"}, time.Minute, 5 * time.Minute},
		"a moment too short for one":     {[]string{"CSTPROXY_IDLE_TTL=29m59.99999997s"}, time.Minute - time.Nanosecond, 5 * time.Minute},
		"just long enough for the other": {[]string{"CSTPROXY_IDLE_TTL=25m"}, 50 * time.Second, 5 * time.Minute},
		"a moment too short for both":    {[]string{"CSTPROXY_IDLE_TTL=24m59.99999997s"}, 50*time.Second - time.Nanosecond, 5*time.Minute - 6*time.Nanosecond},
		"as short as in a test":          {[]string{"CSTPROXY_IDLE_TTL=3s"}, 100 * time.Millisecond, 600 * time.Millisecond},
		"an explicit margin stays":       {[]string{"CSTPROXY_IDLE_TTL=3s", "CSTPROXY_SAFETY_MARGIN=1s"}, time.Second, 600 * time.Millisecond},
		"an explicit least life stays":   {[]string{"CSTPROXY_IDLE_TTL=3s", "CSTPROXY_MIN_TTL=2s"}, 100 * time.Millisecond, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, err := loadConfig(withKey(tt.settings...), nil)
			if err != nil {
				t.Fatal(err)
			}
			if config.SafetyMargin != tt.margin || config.MinTTL != tt.minTTL {
				t.Errorf("got margin %v and least life %v, want %v and %v", config.SafetyMargin, config.MinTTL, tt.margin, tt.minTTL)
			}
		})
	}
}

func TestSecretsComeFromTheirVariableOrTheirFile(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"as it is":                       testKey,
		"with a newline at its end":      testKey + "\n",
		"with a newline as Windows does": testKey + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := writeFile(t, content)
			inFile := defaults()
			inFile.PortalAPIKeyFile = file
			checkLoads(t, defaults(), []string{"PORTAL_API_KEY=" + content}, nil)
			checkLoads(t, inFile, []string{"PORTAL_API_KEY_FILE=" + file, "PORTAL_API_KEY="}, nil)
			checkLoads(t, inFile, nil, map[string]string{"portal-api-key-file": file})
		})
	}
}

func TestEveryMistakeSaysWhatWasGotAndWhatIsAllowed(t *testing.T) {
	t.Parallel()
	file := writeFile(t, testKey)
	empty, misspelled := writeFile(t, "\n"), writeFile(t, "caller: []\n")
	const keyAllowed = "a key without white space or unprintable characters"
	for name, tt := range map[string]struct {
		environ []string
		flags   map[string]string
		want    []string
	}{
		"a variable": {
			withKey("CSTPROXY_IDLE_TTL=1 day"), nil,
			[]string{`CSTPROXY_IDLE_TTL: got "1 day", want a Go duration of 1s or more, such as 24h`},
		},
		"a flag": {
			withKey("CSTPROXY_IDLE_TTL=1h"), map[string]string{"idle-ttl": "1 day"},
			[]string{`--idle-ttl: got "1 day", want a Go duration of 1s or more, such as 24h`},
		},
		"a flag without a value": {
			withKey(), map[string]string{"listen": ""},
			[]string{`--listen: got "", want host:port with a port from 0 to 65535, or unix:/path`},
		},
		"a file's flag without a value": {
			withKey(), map[string]string{"redis-url-file": ""},
			[]string{`--redis-url-file: got "", want the path of a file to read`},
		},
		"a word that is not on the list": {
			withKey("CSTPROXY_REFRESH=always"), nil,
			[]string{`CSTPROXY_REFRESH: got "always", want one of probe, assume, observe`},
		},
		"two settings that do not go together": {
			withKey("CSTPROXY_SAFETY_MARGIN=2s"), map[string]string{"idle-ttl": "3s"},
			[]string{`CSTPROXY_SAFETY_MARGIN: got "2s", want less than half of --idle-ttl ("3s")`},
		},
		"a setting against a default": {
			withKey("CSTPROXY_LISTEN=127.0.0.1:9090"), nil,
			[]string{`CSTPROXY_ADMIN_LISTEN: got "127.0.0.1:9090" (the default), want another address than CSTPROXY_LISTEN ("127.0.0.1:9090")`},
		},
		"a setting against a shortened default": {
			withKey("CSTPROXY_IDLE_TTL=3s", "CSTPROXY_MIN_TTL=2950ms"), nil,
			[]string{`CSTPROXY_MIN_TTL: got "2950ms", want at most CSTPROXY_IDLE_TTL ("3s") less CSTPROXY_SAFETY_MARGIN ("100ms", the default)`},
		},
		"an address that others reach, without callers": {
			withKey("CSTPROXY_LISTEN=0.0.0.0:8080"), nil,
			[]string{`CSTPROXY_LISTEN: got "0.0.0.0:8080", want loopback or a Unix socket as long as no CSTPROXY_CALLERS_FILE says who may ask`},
		},
		"callers with a mistake": {
			withKey(), map[string]string{"callers-file": misspelled},
			[]string{`--callers-file: got ` + settingOf(t, "CSTPROXY_CALLERS_FILE").show(misspelled) + `, want the path of a callers file (line 1: there is no field "caller" here)`},
		},
		"a strictness about nothing": {
			withKey("CSTPROXY_AUDIT_STRICT=true"), nil,
			[]string{`CSTPROXY_AUDIT_STRICT: got "true", want false, since there is no audit with CSTPROXY_AUDIT ("off", the default)`},
		},
		"more who wait than a shortened default": {
			withKey("CSTPROXY_MAX_CONNECTIONS=100", "CSTPROXY_MAX_WAITING=50"), nil,
			[]string{`CSTPROXY_MAX_WAITING: got "50", want less than CSTPROXY_MAX_IN_FLIGHT ("50", the default), so that there is room for tokens that are served at once`},
		},
		"a long value": {
			withKey("CSTPROXY_KEY_PREFIX=" + strings.Repeat("ä", 65)), nil,
			[]string{`CSTPROXY_KEY_PREFIX: got "` + strings.Repeat("ä", 64) + `…", want 1 to 64 of the characters A-Z a-z 0-9 _ . - :`},
		},
		"no key": {
			nil, nil,
			[]string{`PORTAL_API_KEY: got nothing, want ` + keyAllowed + `, here or in the file that PORTAL_API_KEY_FILE names`},
		},
		"an empty key": {
			[]string{"PORTAL_API_KEY=\n"}, nil,
			[]string{`PORTAL_API_KEY: got [redacted], want ` + keyAllowed + ` (it is empty)`},
		},
		"a key of two words": {
			[]string{"PORTAL_API_KEY=two words"}, nil,
			[]string{`PORTAL_API_KEY: got [redacted], want ` + keyAllowed + ` (there is white space or an unprintable character in it)`},
		},
		"a key twice": {
			withKey("PORTAL_API_KEY_FILE=" + file), nil,
			[]string{`PORTAL_API_KEY, PORTAL_API_KEY_FILE: got both, want one of them`},
		},
		"a key in a variable and a flag's file": {
			withKey(), map[string]string{"portal-api-key-file": file},
			[]string{`PORTAL_API_KEY, --portal-api-key-file: got both, want one of them`},
		},
		"Redis twice": {
			withKey("REDIS_URL=redis://:pw@host", "REDIS_URL_FILE="+file), nil,
			[]string{`REDIS_URL, REDIS_URL_FILE: got both, want one of them`},
		},
		"a file that is not there": {
			[]string{"PORTAL_API_KEY_FILE=/no/such/key"}, nil,
			[]string{`PORTAL_API_KEY_FILE: got "/no/such/key", want the path of a file to read (no such file or directory)`},
		},
		"a directory": {
			[]string{"PORTAL_API_KEY_FILE=/"}, nil,
			[]string{`PORTAL_API_KEY_FILE: got "/", want the path of a file to read (is a directory)`},
		},
		"an empty file": {
			nil, map[string]string{"portal-api-key-file": empty},
			[]string{`--portal-api-key-file: got ` + settingOf(t, "PORTAL_API_KEY_FILE").show(empty) + `, want a file with ` + keyAllowed + ` (it is empty)`},
		},
		"a misspelled variable": {
			withKey("CSTPROXY_IDEL_TTL=24h"), nil,
			[]string{`CSTPROXY_IDEL_TTL is not a setting; did you mean CSTPROXY_IDLE_TTL?`},
		},
		"every setting at once": {
			[]string{
				"CSTPROXY_ZEBRA=1", "CSTPROXY_LOG_LEVL=1",
				"CSTPROXY_AUDIT_STRICT=x", "CSTPROXY_AUDIT=x", "CSTPROXY_DRAIN_DELAY=x", "CSTPROXY_MAX_AT_PORTAL=x", "CSTPROXY_MAX_WAITING=x", "CSTPROXY_MAX_IN_FLIGHT=x", "CSTPROXY_MAX_CONNECTIONS=x",
				"CSTPROXY_LOG_FORMAT=x", "CSTPROXY_LOG_LEVEL=x", "CSTPROXY_MEMORY_ENTRIES=x", "CSTPROXY_MEMORY_TTL=x", "CSTPROXY_KEY_PREFIX=x y", "CSTPROXY_REDIS_DOWN=x",
				"CSTPROXY_PASSTHROUGH=x", "CSTPROXY_RETRY_ENCLAVE=x", "CSTPROXY_PASSTHROUGH_TIMEOUT=x",
				"CSTPROXY_PROBE_RATE=x", "CSTPROXY_MINT_RATE=x", "CSTPROXY_PORTAL_TIMEOUT=x", "CSTPROXY_REFRESH=x", "CSTPROXY_MINT_AHEAD=x", "CSTPROXY_MIN_TTL=x",
				"CSTPROXY_SAFETY_MARGIN=x", "CSTPROXY_REFRESH_WINDOW=x", "CSTPROXY_IDLE_TTL=x", "CSTPROXY_PORTAL_API_VERSION=x",
				"CSTPROXY_SOCKET_MODE=x", "CSTPROXY_ADMIN_LISTEN=x", "CSTPROXY_LISTEN=x", "REDIS_URL=x", "PORTAL_MPC_URL=x", "PORTAL_API_URL=x",
			},
			nil,
			[]string{
				`PORTAL_API_KEY: got nothing, want ` + keyAllowed + `, here or in the file that PORTAL_API_KEY_FILE names`,
				`PORTAL_API_URL: got "x", want an absolute http or https URL without user info, query or fragment`,
				`PORTAL_MPC_URL: got "x", want an absolute http or https URL without user info, query or fragment`,
				`REDIS_URL: got [redacted], want a URL that begins with redis://, rediss:// or unix://, without white space or unprintable characters (it begins with something else)`,
				`CSTPROXY_LISTEN: got "x", want host:port with a port from 0 to 65535, or unix:/path`,
				`CSTPROXY_ADMIN_LISTEN: got "x", want host:port with a port from 0 to 65535, or unix:/path`,
				`CSTPROXY_SOCKET_MODE: got "x", want an octal mode from 0 to 0777, such as 0660`,
				`CSTPROXY_PORTAL_API_VERSION: got "x", want one of v1, v3`,
				`CSTPROXY_IDLE_TTL: got "x", want a Go duration of 1s or more, such as 24h`,
				`CSTPROXY_REFRESH_WINDOW: got "x", want a Go duration above 0, such as 168h`,
				`CSTPROXY_SAFETY_MARGIN: got "x", want a Go duration of 0 or more, such as 1m`,
				`CSTPROXY_MIN_TTL: got "x", want a Go duration of 0 or more, such as 5m`,
				`CSTPROXY_REFRESH: got "x", want one of probe, assume, observe`,
				`CSTPROXY_MINT_AHEAD: got "x", want a Go duration of 0 or more, such as 6h`,
				`CSTPROXY_PASSTHROUGH: got "x", want one or more of client, enclave and custodian, with commas between them`,
				`CSTPROXY_RETRY_ENCLAVE: got "x", want one of true, false`,
				`CSTPROXY_PASSTHROUGH_TIMEOUT: got "x", want a Go duration above 0 and at most 10m, such as 1m`,
				`CSTPROXY_PORTAL_TIMEOUT: got "x", want a Go duration above 0 and at most 1m, such as 10s`,
				`CSTPROXY_MINT_RATE: got "x", want a rate such as 200/m (/s, /m or /h, up to 100000), or 0 for no limit`,
				`CSTPROXY_PROBE_RATE: got "x", want a rate such as 200/m (/s, /m or /h, up to 100000), or 0 for no limit`,
				`CSTPROXY_REDIS_DOWN: got "x", want one of mint, fail`,
				`CSTPROXY_KEY_PREFIX: got "x y", want 1 to 64 of the characters A-Z a-z 0-9 _ . - :`,
				`CSTPROXY_MEMORY_TTL: got "x", want a Go duration of 0 or more, such as 30s`,
				`CSTPROXY_MEMORY_ENTRIES: got "x", want a whole number from 1 to 2147483647`,
				`CSTPROXY_MAX_CONNECTIONS: got "x", want a whole number from 4 to 1000000`,
				`CSTPROXY_MAX_IN_FLIGHT: got "x", want a whole number of 2 or more`,
				`CSTPROXY_MAX_WAITING: got "x", want a whole number of 1 or more`,
				`CSTPROXY_MAX_AT_PORTAL: got "x", want a whole number from 1 to 1000000`,
				`CSTPROXY_DRAIN_DELAY: got "x", want a Go duration from 0 to 5m, such as 10s`,
				`CSTPROXY_AUDIT: got "x", want off, log or file:/path`,
				`CSTPROXY_AUDIT_STRICT: got "x", want one of true, false`,
				`CSTPROXY_LOG_LEVEL: got "x", want one of debug, info, warn, error`,
				`CSTPROXY_LOG_FORMAT: got "x", want one of json, text`,
				`CSTPROXY_LOG_LEVL is not a setting; did you mean CSTPROXY_LOG_LEVEL?`,
				`CSTPROXY_ZEBRA is not a setting; did you mean CSTPROXY_REFRESH?`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, mistakes(t, tt.environ, tt.flags)); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAStrangeVariableNamesTheNearestSetting(t *testing.T) {
	t.Parallel()
	for name, nearest := range map[string]string{
		"CSTPROXY_IDEL_TTL":           "CSTPROXY_IDLE_TTL",
		"CSTPROXY_MINTTL":             "CSTPROXY_MIN_TTL",
		"CSTPROXY_LOGLEVEL":           "CSTPROXY_LOG_LEVEL",
		"CSTPROXY_PORTAL_API_KEY":     "PORTAL_API_KEY",
		"CSTPROXY_REDIS_URL":          "REDIS_URL",
		"CSTPROXY_PORTAL_URL":         "PORTAL_API_URL",
		"CSTPROXY_SERVICE_HOSTS":      "",
		"CSTPROXY_PORT":               "",
		"CSTPROXY_PORT_8080_HTTP":     "",
		"CSTPROXY_LISTEN_FILE":        "",
		"CSTPROXY_idle_ttl":           "",
		"CSTPROXY_":                   "",
		"CSTPROXY_SERVICE_PORT_lower": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := mistakes(t, withKey(name+"=8080"), nil)
			want := name + " is not a setting; did you mean " + nearest
			if len(got) != 1 || !strings.HasPrefix(got[0], want) {
				t.Errorf("got %q, want it to begin with %q", got, want)
			}
		})
	}
}

func TestTheVariablesOfKubernetesAreNoMistakes(t *testing.T) {
	t.Parallel()
	for _, service := range []string{"CSTPROXY", "CSTPROXY_ADMIN", "CSTPROXY_EU_WEST_1"} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			checkLoads(t, defaults(), withKey(
				service+"_SERVICE_HOST=10.0.0.11", service+"_SERVICE_PORT=8080", service+"_SERVICE_PORT_HTTP_DATA=8080",
				service+"_PORT=tcp://10.0.0.11:8080", service+"_PORT_8080_TCP=tcp://10.0.0.11:8080",
				service+"_PORT_8080_TCP_PROTO=tcp", service+"_PORT_8080_TCP_PORT=8080", service+"_PORT_8080_TCP_ADDR=10.0.0.11",
				service+"_PORT_53_UDP=udp://10.0.0.11:53", service+"_PORT_9_SCTP_ADDR=10.0.0.11",
			), nil)
			checkLoads(t, defaults(), withKey(service+"_PORT=udp://10.0.0.11:53"), nil)
		})
	}
}

// TestNoMistakeShowsASecret puts a secret into everything that may hold one, in every way that is an error.
func TestNoMistakeShowsASecret(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	spoilt := []string{
		" " + secret, secret + " ", secret + "\t" + secret, "\x00" + secret, secret + "\n" + secret, secret + "\ufeff", secret + "\u00a0",
		secret + "\u200b", "\xff" + secret, strings.Repeat(secret, 30) + "\x7f", "redis://:" + secret + "@h\n ", "unix :" + secret, secret + "://h h",
	}
	cases := map[string][]string{
		"a misspelled variable": withKey("CSTPROXY_PORTAL_API_KYE=" + secret),
		"Redis twice":           withKey("REDIS_URL=redis://:"+secret+"@h", "REDIS_URL_FILE=/x"),
		"Redis, other scheme":   withKey("REDIS_URL=https://:" + secret + "@h"),
		"Redis, no scheme":      withKey("REDIS_URL=:" + secret + "@h:6379"),
		"the key twice":         {"PORTAL_API_KEY=" + secret, "PORTAL_API_KEY_FILE=/x"},
		"the key and others":    {"PORTAL_API_KEY=" + secret, "CSTPROXY_IDLE_TTL=x", "CSTPROXY_LISTEN=x"},
	}
	for _, text := range spoilt {
		file := writeFile(t, text)
		cases["the key "+text] = []string{"PORTAL_API_KEY=" + text}
		cases["the key's file "+text] = []string{"PORTAL_API_KEY_FILE=" + file}
		cases["Redis "+text] = withKey("REDIS_URL=" + text)
		cases["Redis' file "+text] = withKey("REDIS_URL_FILE=" + file)
	}
	for _, url := range []string{
		"https://user:" + secret + "@h", "https://" + secret + "@h", "https://u:p/" + secret + "@h", "https://u:" + secret + "?@h", "u:" + secret + "@h",
		"https:/u:" + secret + "@h", "https://h/?key=" + secret, "https://h/?\n" + secret, "https://h/#" + secret, "https://u:\n" + secret + "@h", "https://a@b:" + secret + "@h",
		"https://u:" + secret + "@" + strings.Repeat("h", 90),
	} {
		cases["Portal at "+url] = withKey("PORTAL_API_URL=" + url)
		cases["Portal's MPC at "+url] = withKey("PORTAL_MPC_URL=" + url)
	}
	for _, variable := range []string{"PORTAL_API_KEY_NEXT_FILE", "CSTPROXY_CALLERS_FILE"} {
		cases[variable+" in base64"] = withKey(variable + "=ab+/" + secret + "/cd==")
	}
	for name, environ := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, line := range mistakes(t, environ, nil) {
				if strings.Contains(line, secret) {
					t.Errorf("the secret is in %q", line)
				}
			}
		})
	}
}

// FuzzNoValueBreaksTheReading feeds every setting the same foreign text: no panic, and one mistake at most for each.
func FuzzNoValueBreaksTheReading(f *testing.F) {
	for _, seed := range []string{"", "0", "1h", "200/m", "https://h", "redis://h", ":0", "unix:/x", "%s", "\xff", "[::1]:1", "$PATH"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		flags := map[string]string{}
		environ := []string{"PORTAL_API_KEY=" + text, "REDIS_URL=" + text}
		for _, s := range settings() {
			if s.flag != "" && !strings.HasSuffix(s.variable, fileSuffix) {
				flags[s.flag] = text
			}
		}
		_, err := loadConfig(environ, flags)
		wrong, ok := errors.AsType[configError](err)
		if !ok {
			t.Fatalf("got error %v, want a configError: no text suits every setting", err)
		}
		if len(wrong.problems) > len(settings()) {
			t.Errorf("%d problems, want one at most for each setting: %q", len(wrong.problems), wrong.problems)
		}
	})
}

func TestLoadingTwiceGivesTheSame(t *testing.T) {
	t.Parallel()
	short := mustLoad(t, withKey("CSTPROXY_IDLE_TTL=3s"))
	if diff := cmp.Diff(defaults(), mustLoad(t, withKey())); diff != "" {
		t.Errorf("a short idle time before left its traces (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(short, mustLoad(t, withKey("CSTPROXY_IDLE_TTL=3s"))); diff != "" {
		t.Errorf("the same environment, another configuration (-want +got):\n%s", diff)
	}
}

func mustLoad(t *testing.T, environ []string) Config {
	t.Helper()
	config, err := loadConfig(environ, nil)
	if err != nil {
		t.Fatal(err)
	}
	return config
}
