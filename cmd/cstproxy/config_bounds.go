package main

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

const (
	// maxPortalTimeout is past what any caller waits for a token.
	maxPortalTimeout = time.Minute
	// maxPassthroughTimeout is past what any caller waits for an answer of Portal's.
	maxPassthroughTimeout = 10 * time.Minute
)

// maxDrainDelay is past what any router of traffic takes to hear of readiness.
const maxDrainDelay = 5 * time.Minute

// mostPlaces is past what one machine can hold open.
const mostPlaces = 1_000_000

// keyPrefixes leaves out braces, which would choose the slot of a key in a Redis Cluster.
var keyPrefixes = regexp.MustCompile(`\A[A-Za-z0-9_.:-]{1,64}\z`)

// bound is a rule that a configuration keeps. It is the fault of the first of its settings; want says what would be
// right, with a %s for each further setting. An empty want means what the setting allows by itself.
type bound struct {
	of    []string
	want  string
	holds func(Config) bool
}

// bounds are the rules for one setting by itself.
func bounds() []bound {
	of := func(variable string, holds func(Config) bool) bound {
		return bound{of: []string{variable}, holds: holds}
	}
	return []bound{
		of("CSTPROXY_IDLE_TTL", func(c Config) bool { return c.IdleTTL >= time.Second }),
		of("CSTPROXY_REFRESH_WINDOW", func(c Config) bool { return c.RefreshWindow > 0 }),
		of("CSTPROXY_SAFETY_MARGIN", func(c Config) bool { return c.SafetyMargin >= 0 }),
		of("CSTPROXY_MIN_TTL", func(c Config) bool { return c.MinTTL >= 0 }),
		of("CSTPROXY_MINT_AHEAD", func(c Config) bool { return c.MintAhead >= 0 }),
		of("CSTPROXY_PORTAL_TIMEOUT", func(c Config) bool { return c.PortalTimeout > 0 && c.PortalTimeout <= maxPortalTimeout }),
		of("CSTPROXY_PASSTHROUGH_TIMEOUT", func(c Config) bool { return c.PassthroughTimeout > 0 && c.PassthroughTimeout <= maxPassthroughTimeout }),
		of("CSTPROXY_KEY_PREFIX", func(c Config) bool { return keyPrefixes.MatchString(c.KeyPrefix) }),
		of("CSTPROXY_MEMORY_TTL", func(c Config) bool { return c.MemoryTTL >= 0 }),
		of("CSTPROXY_MEMORY_ENTRIES", func(c Config) bool { return c.MemoryEntries >= 1 }),
		of("CSTPROXY_MAX_CONNECTIONS", func(c Config) bool { return c.MaxConnections >= 4 && c.MaxConnections <= mostPlaces }),
		of("CSTPROXY_MAX_IN_FLIGHT", func(c Config) bool { return c.MaxInFlight >= 2 }),
		of("CSTPROXY_MAX_WAITING", func(c Config) bool { return c.MaxWaiting >= 1 }),
		of("CSTPROXY_MAX_AT_PORTAL", func(c Config) bool { return c.MaxAtPortal >= 1 && c.MaxAtPortal <= mostPlaces }),
		of("CSTPROXY_DRAIN_DELAY", func(c Config) bool { return c.DrainDelay >= 0 && c.DrainDelay <= maxDrainDelay }),
	}
}

// relations are the rules between settings.
func relations() []bound {
	return slices.Concat(filesTogether(), limitsTogether(), tracesTogether(), []bound{
		{
			of:    []string{"CSTPROXY_LISTEN"},
			want:  "loopback or a Unix socket as long as no CSTPROXY_CALLERS_FILE says who may ask",
			holds: func(c Config) bool { return c.CallersFile != "" || c.Listen.isLocal() },
		},
		{
			of:    []string{"CSTPROXY_ADMIN_LISTEN", "CSTPROXY_LISTEN"},
			want:  "another address than %s",
			holds: func(c Config) bool { return !c.AdminListen.clashes(c.Listen) },
		},
		{
			of:    []string{"CSTPROXY_IDLE_TTL", "CSTPROXY_REFRESH_WINDOW"},
			want:  "at most %s",
			holds: func(c Config) bool { return c.IdleTTL <= c.RefreshWindow },
		},
		{
			of:    []string{"CSTPROXY_SAFETY_MARGIN", "CSTPROXY_IDLE_TTL"},
			want:  "less than half of %s",
			holds: func(c Config) bool { return c.SafetyMargin < c.IdleTTL-c.SafetyMargin },
		},
		{
			of:    []string{"CSTPROXY_MIN_TTL", "CSTPROXY_IDLE_TTL", "CSTPROXY_SAFETY_MARGIN"},
			want:  "at most %s less %s",
			holds: func(c Config) bool { return c.MinTTL <= c.IdleTTL-c.SafetyMargin },
		},
		{
			of:    []string{"CSTPROXY_MINT_AHEAD", "CSTPROXY_REFRESH_WINDOW", "CSTPROXY_IDLE_TTL"},
			want:  "0, or less than %s less %s",
			holds: func(c Config) bool { return c.MintAhead == 0 || c.MintAhead < c.RefreshWindow-c.IdleTTL },
		},
	})
}

// limitsTogether are the rules for limits and the audit.
func limitsTogether() []bound {
	return []bound{
		{
			of:    []string{"CSTPROXY_MAX_IN_FLIGHT", "CSTPROXY_MAX_CONNECTIONS"},
			want:  "at most %s",
			holds: func(c Config) bool { return c.MaxInFlight <= c.MaxConnections },
		},
		{
			of:    []string{"CSTPROXY_MAX_WAITING", "CSTPROXY_MAX_IN_FLIGHT"},
			want:  "less than %s, so that there is room for tokens that are served at once",
			holds: func(c Config) bool { return c.MaxWaiting < c.MaxInFlight },
		},
		{
			of:    []string{"CSTPROXY_AUDIT_STRICT", "CSTPROXY_AUDIT"},
			want:  "false, since there is no audit with %s",
			holds: func(c Config) bool { return !c.AuditStrict || c.Audit.Kind != auditOff },
		},
		{
			of:    []string{"CSTPROXY_RETRY_ENCLAVE", "CSTPROXY_PASSTHROUGH"},
			want:  "false, since no Enclave request is passed on with %s",
			holds: func(c Config) bool { return !c.RetryEnclave || slices.Contains(c.Passthrough, session.RouteEnclave) },
		},
	}
}

// filesTogether are the rules for settings that say nothing without one another.
func filesTogether() []bound {
	both := func(cert, key string, holds func(Config) bool) bound {
		return bound{of: []string{cert, key}, want: "a certificate and its key, %s, or neither", holds: holds}
	}
	return []bound{
		both("CSTPROXY_TLS_CERT_FILE", "CSTPROXY_TLS_KEY_FILE", func(c Config) bool { return (c.TLSCertFile == "") == (c.TLSKeyFile == "") }),
		both("CSTPROXY_ADMIN_TLS_CERT_FILE", "CSTPROXY_ADMIN_TLS_KEY_FILE", func(c Config) bool { return (c.AdminTLSCertFile == "") == (c.AdminTLSKeyFile == "") }),
		both("REDIS_CERT_FILE", "REDIS_KEY_FILE", func(c Config) bool { return (c.RedisCertFile == "") == (c.RedisKeyFile == "") }),
		{
			of:    []string{"CSTPROXY_TLS_CLIENT_CA_FILE", "CSTPROXY_TLS_CERT_FILE"},
			want:  "it along with a certificate of the data API's own, %s",
			holds: func(c Config) bool { return c.TLSClientCAFile == "" || c.TLSCertFile != "" },
		},
		{
			of:    []string{"REDIS_URL", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_CA_FILE", "REDIS_CERT_FILE"},
			want:  "a URL, or none of %s, %s, %s and %s",
			holds: func(c Config) bool { return !c.RedisURL.IsZero() || !c.opensRedis() },
		},
	}
}

// opensRedis reports whether there is something that would open a Redis.
func (c Config) opensRedis() bool {
	return !c.RedisUsername.IsZero() || !c.RedisPassword.IsZero() || c.RedisCAFile != "" || c.RedisCertFile != ""
}

// check notes every rule that is broken, unless one of its settings is already known to be wrong.
func (in *intake) check(config Config, rules []bound) {
	for _, rule := range rules {
		if !in.anyWrong(rule.of) && !rule.holds(config) {
			in.refuse(*in.byVariable(rule.of[0]), in.wording(rule))
		}
	}
}

func (in *intake) anyWrong(variables []string) bool {
	for _, variable := range variables {
		if in.problems[variable] != "" {
			return true
		}
	}
	return false
}

func (in *intake) wording(rule bound) string {
	if rule.want == "" {
		return in.byVariable(rule.of[0]).allowed
	}
	others := make([]any, 0, len(rule.of))
	for _, variable := range rule.of[1:] {
		others = append(others, in.nameOf(variable))
	}
	return fmt.Sprintf(rule.want, others...)
}

// shortenDefaults makes the defaults that are parts of another setting fit a small one.
func (in *intake) shortenDefaults(config *Config) {
	shortenDefault(in, "CSTPROXY_SAFETY_MARGIN", &config.SafetyMargin, config.IdleTTL/30)
	shortenDefault(in, "CSTPROXY_MIN_TTL", &config.MinTTL, config.IdleTTL/5)
	shortenDefault(in, "CSTPROXY_MAX_IN_FLIGHT", &config.MaxInFlight, config.MaxConnections/2)
	shortenDefault(in, "CSTPROXY_MAX_WAITING", &config.MaxWaiting, config.MaxInFlight*4/5)
}

func shortenDefault[T int | time.Duration](in *intake, variable string, value *T, most T) {
	if _, ok := in.given[variable]; ok || *value <= most {
		return
	}
	*value = most
	in.byVariable(variable).fallback = fmt.Sprint(most)
}
