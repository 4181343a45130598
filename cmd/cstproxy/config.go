package main

import (
	"io/fs"
	"slices"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Config is everything an operator can set, one field per setting, in the order of the manual. The tags are the one
// home of a setting's variable, default, words of help and allowed values; a field of kind session.Secret has no flag
// and is also read from the file that its _FILE companion names.
type Config struct {
	PortalAPIKey     session.Secret `env:"PORTAL_API_KEY" required:"true" usage:"Portal API Key (the custodian key) of the Portal environment to serve" allowed:"a key without white space or unprintable characters"`
	PortalAPIKeyFile string         `env:"PORTAL_API_KEY_FILE" usage:"file that holds the Portal API Key; a newline at its end is ignored" allowed:"the path of a file to read"`
	PortalAPIURL     baseURL        `env:"PORTAL_API_URL" envDefault:"https://api.portalhq.io" usage:"Portal's API: mint, register, refresh" allowed:"an absolute http or https URL without user info, query or fragment"`
	PortalMPCURL     baseURL        `env:"PORTAL_MPC_URL" envDefault:"https://mpc-client.portalhq.io" usage:"Portal's MPC service" allowed:"an absolute http or https URL without user info, query or fragment"`

	RedisURL     session.Secret `env:"REDIS_URL" schemes:"redis rediss unix" usage:"Redis that the fleet shares; without it tokens are kept in this process alone" allowed:"a URL that begins with redis://, rediss:// or unix://, without white space or unprintable characters"`
	RedisURLFile string         `env:"REDIS_URL_FILE" usage:"file that holds the URL of Redis; a newline at its end is ignored" allowed:"the path of a file to read"`

	Listen      listenAddress `env:"CSTPROXY_LISTEN" envDefault:"127.0.0.1:8080" usage:"address of the data API" allowed:"host:port with a port from 0 to 65535, or unix:/path"`
	AdminListen listenAddress `env:"CSTPROXY_ADMIN_LISTEN" envDefault:"127.0.0.1:9090" usage:"address of health, metrics and version" allowed:"host:port with a port from 0 to 65535, or unix:/path"`
	SocketMode  fs.FileMode   `env:"CSTPROXY_SOCKET_MODE" envDefault:"0660" usage:"permissions of a Unix socket" allowed:"an octal mode from 0 to 0777, such as 0660"`

	CallersFile string `env:"CSTPROXY_CALLERS_FILE" usage:"file that says who may ask for what (YAML); without it anybody may who reaches the data API, which then must listen on loopback or a Unix socket" allowed:"the path of a callers file"`

	CallerKey     session.Secret `env:"CSTPROXY_CALLER_KEY" client:"true" usage:"key that cstproxy token shows the proxy, where there is a callers file" allowed:"a key without white space or unprintable characters"`
	CallerKeyFile string         `env:"CSTPROXY_CALLER_KEY_FILE" client:"true" usage:"file that holds the caller's key; a newline at its end is ignored" allowed:"the path of a file to read"`

	PortalAPIVersion apiVersion          `env:"CSTPROXY_PORTAL_API_VERSION" envDefault:"v1" oneof:"v1 v3" usage:"version of Portal's paths for mint and register"`
	IdleTTL          time.Duration       `env:"CSTPROXY_IDLE_TTL" envDefault:"24h" usage:"how long Portal keeps a token that is not used; at most CSTPROXY_REFRESH_WINDOW" allowed:"a Go duration of 1s or more, such as 24h"`
	RefreshWindow    time.Duration       `env:"CSTPROXY_REFRESH_WINDOW" envDefault:"168h" usage:"how long after its mint use still extends a token" allowed:"a Go duration above 0, such as 168h"`
	SafetyMargin     time.Duration       `env:"CSTPROXY_SAFETY_MARGIN" envDefault:"1m" usage:"kept off the end of every token's life, against clock skew and latency; less than half of CSTPROXY_IDLE_TTL; unless set, at most a thirtieth of it" allowed:"a Go duration of 0 or more, such as 1m"`
	MinTTL           time.Duration       `env:"CSTPROXY_MIN_TTL" envDefault:"5m" usage:"least life handed out to a caller who asks for none; at most CSTPROXY_IDLE_TTL less CSTPROXY_SAFETY_MARGIN; unless set, at most a fifth of CSTPROXY_IDLE_TTL" allowed:"a Go duration of 0 or more, such as 5m"`
	Refresh          session.RefreshMode `env:"CSTPROXY_REFRESH" envDefault:"probe" oneof:"probe assume observe" usage:"how a fetch extends a token: probe asks Portal, assume takes the fetch for use, observe waits for reported or proxied use"`
	MintAhead        time.Duration       `env:"CSTPROXY_MINT_AHEAD" envDefault:"0s" usage:"in how much of a window, before it closes, the next token is minted for a client that fetches, while Portal's budget is spare; 0 is never; less than CSTPROXY_REFRESH_WINDOW less CSTPROXY_IDLE_TTL" allowed:"a Go duration of 0 or more, such as 6h"`

	Passthrough        families      `env:"CSTPROXY_PASSTHROUGH" usage:"families of Portal's routes that are passed on, with the token of the client that a caller names or with the one that a device sends; without it none is" allowed:"one or more of client, enclave and custodian, with commas between them"`
	RetryEnclave       bool          `env:"CSTPROXY_RETRY_ENCLAVE" envDefault:"false" oneof:"true false" usage:"whether a request to the Enclave MPC API that Portal answered by a 401 is sent once more with another token; only with enclave in CSTPROXY_PASSTHROUGH"`
	PassthroughTimeout time.Duration `env:"CSTPROXY_PASSTHROUGH_TIMEOUT" envDefault:"1m" usage:"deadline of a request that is passed on, its answer included" allowed:"a Go duration above 0 and at most 10m, such as 1m"`

	PortalTimeout time.Duration `env:"CSTPROXY_PORTAL_TIMEOUT" envDefault:"10s" usage:"deadline of one attempt at Portal" allowed:"a Go duration above 0 and at most 1m, such as 10s"`
	MintRate      Rate          `env:"CSTPROXY_MINT_RATE" envDefault:"200/m" usage:"how often the whole fleet may mint" allowed:"a rate such as 200/m (/s, /m or /h, up to 100000), or 0 for no limit"`
	ProbeRate     Rate          `env:"CSTPROXY_PROBE_RATE" envDefault:"200/m" usage:"how often the whole fleet may probe" allowed:"a rate such as 200/m (/s, /m or /h, up to 100000), or 0 for no limit"`

	RedisDown     redisDown     `env:"CSTPROXY_REDIS_DOWN" envDefault:"mint" oneof:"mint fail" usage:"while Redis is down: mint works from memory and mints at a share of the budget, fail answers 503"`
	KeyPrefix     string        `env:"CSTPROXY_KEY_PREFIX" envDefault:"cstproxy" usage:"namespace of every key in Redis" allowed:"1 to 64 of the characters A-Z a-z 0-9 _ . - :"`
	MemoryTTL     time.Duration `env:"CSTPROXY_MEMORY_TTL" envDefault:"30s" usage:"how long a token is served from memory without looking into Redis; 0 looks each time" allowed:"a Go duration of 0 or more, such as 30s"`
	MemoryEntries int           `env:"CSTPROXY_MEMORY_ENTRIES" envDefault:"100000" usage:"most tokens that this process keeps in memory; never more than one for each 2 KiB of the memory limit" allowed:"a whole number from 1 to 2147483647"`

	SealKeysFile string `env:"CSTPROXY_SEAL_KEYS_FILE" usage:"file that holds the keys which encrypt what is kept in Redis, a Tink keyset in JSON as seal-key new prints it; without it the key is derived from the Portal API Key" allowed:"the path of a file to read"`

	PortalAPIKeyNext     session.Secret `env:"PORTAL_API_KEY_NEXT" usage:"Portal API Key that takes over once Portal refuses the other and accepts this one" allowed:"a key without white space or unprintable characters"`
	PortalAPIKeyNextFile string         `env:"PORTAL_API_KEY_NEXT_FILE" usage:"file that holds the next Portal API Key; a newline at its end is ignored" allowed:"the path of a file to read"`
	PortalProxy          portalProxy    `env:"CSTPROXY_PORTAL_PROXY" envDefault:"off" oneof:"off environment" usage:"whether Portal is asked through the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name"`

	RedisUsername     session.Secret `env:"REDIS_USERNAME" usage:"user at Redis, instead of the one in the URL" allowed:"a name without white space or unprintable characters"`
	RedisUsernameFile string         `env:"REDIS_USERNAME_FILE" usage:"file that holds the user at Redis; a newline at its end is ignored" allowed:"the path of a file to read"`
	RedisPassword     session.Secret `env:"REDIS_PASSWORD" usage:"password at Redis, instead of the one in the URL" allowed:"a password without white space or unprintable characters"`
	RedisPasswordFile string         `env:"REDIS_PASSWORD_FILE" usage:"file that holds the password at Redis; a newline at its end is ignored" allowed:"the path of a file to read"`
	RedisCAFile       string         `env:"REDIS_CA_FILE" public:"true" usage:"PEM file of the authorities that vouch for Redis, instead of the system's; for rediss:// only" allowed:"the path of a file to read"`
	RedisCertFile     string         `env:"REDIS_CERT_FILE" public:"true" usage:"PEM file of the certificate to show Redis; for rediss:// only" allowed:"the path of a file to read"`
	RedisKeyFile      string         `env:"REDIS_KEY_FILE" usage:"PEM file of that certificate's key" allowed:"the path of a file to read"`

	TLSCertFile      string `env:"CSTPROXY_TLS_CERT_FILE" public:"true" usage:"PEM file of the data API's certificate; with it the data API speaks TLS" allowed:"the path of a file to read"`
	TLSKeyFile       string `env:"CSTPROXY_TLS_KEY_FILE" usage:"PEM file of that certificate's key" allowed:"the path of a file to read"`
	TLSClientCAFile  string `env:"CSTPROXY_TLS_CLIENT_CA_FILE" public:"true" usage:"PEM file of the authorities that vouch for callers' certificates; a certificate of another is refused" allowed:"the path of a file to read"`
	AdminTLSCertFile string `env:"CSTPROXY_ADMIN_TLS_CERT_FILE" public:"true" usage:"PEM file of the admin port's certificate; with it the admin port speaks TLS" allowed:"the path of a file to read"`
	AdminTLSKeyFile  string `env:"CSTPROXY_ADMIN_TLS_KEY_FILE" usage:"PEM file of that certificate's key" allowed:"the path of a file to read"`

	MaxConnections int `env:"CSTPROXY_MAX_CONNECTIONS" envDefault:"10000" usage:"most connections to the data API; one more drops the one that is longest without a request" allowed:"a whole number from 4 to 1000000"`
	MaxInFlight    int `env:"CSTPROXY_MAX_IN_FLIGHT" envDefault:"5000" usage:"most requests to the data API at once; at most CSTPROXY_MAX_CONNECTIONS; unless set, at most half of it" allowed:"a whole number of 2 or more"`
	MaxWaiting     int `env:"CSTPROXY_MAX_WAITING" envDefault:"4000" usage:"most of them that wait for Portal; less than CSTPROXY_MAX_IN_FLIGHT; unless set, at most four fifths of it" allowed:"a whole number of 1 or more"`
	MaxAtPortal    int `env:"CSTPROXY_MAX_AT_PORTAL" envDefault:"500" usage:"most mints, refreshes and registrations under way at Portal or waiting for their turn" allowed:"a whole number from 1 to 1000000"`

	DrainDelay time.Duration `env:"CSTPROXY_DRAIN_DELAY" envDefault:"0s" usage:"how long after SIGTERM everything is still served while /readyz says 503, before the drain" allowed:"a Go duration from 0 to 5m, such as 10s"`

	Audit       auditTarget `env:"CSTPROXY_AUDIT" envDefault:"off" usage:"where a line of audit goes for every request and every token: log is standard error" allowed:"off, log or file:/path"`
	AuditStrict bool        `env:"CSTPROXY_AUDIT_STRICT" envDefault:"false" oneof:"true false" usage:"hand no token out whose line of audit can't be written"`

	CollectorURL         baseURL        `env:"OTEL_EXPORTER_OTLP_ENDPOINT" usage:"collector that traces are sent to, under /v1/traces; without it there are none" allowed:"an absolute http or https URL without user info, query or fragment"`
	CollectorHeaders     session.Secret `env:"OTEL_EXPORTER_OTLP_HEADERS" usage:"headers that go with them, such as a credential" allowed:"name=value pairs with commas between them, the values percent-encoded, without white space or unprintable characters"`
	CollectorHeadersFile string         `env:"OTEL_EXPORTER_OTLP_HEADERS_FILE" usage:"file that holds these headers; a newline at its end is ignored" allowed:"the path of a file to read"`
	CollectorProtocol    string         `env:"OTEL_EXPORTER_OTLP_PROTOCOL" envDefault:"http/protobuf" usage:"how they are sent" allowed:"http/protobuf, since no other is spoken here"`
	ServiceName          string         `env:"OTEL_SERVICE_NAME" usage:"what the collector is told that this is; cstproxy unless the attributes say otherwise" allowed:"any name"`
	ResourceAttributes   string         `env:"OTEL_RESOURCE_ATTRIBUTES" usage:"what else the collector is told of this process" allowed:"name=value pairs with commas between them, the values percent-encoded"`
	TracesSampler        string         `env:"OTEL_TRACES_SAMPLER" usage:"which requests are traced; without it those whose callers trace them, and of the others ten a second" allowed:"one of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio"`
	TracesSamplerArg     string         `env:"OTEL_TRACES_SAMPLER_ARG" usage:"the part of the requests that a ratio takes" allowed:"a number from 0 to 1"`

	LogLevel  logLevel  `env:"CSTPROXY_LOG_LEVEL" envDefault:"info" oneof:"debug info warn error" usage:"least level that is logged"`
	LogFormat logFormat `env:"CSTPROXY_LOG_FORMAT" envDefault:"json" oneof:"json text" usage:"form of a log line"`
}

// loadConfig reads the settings: flags (:: flag without dashes → value) over environ (K=V, as [os.Environ] gives)
// over the defaults. A variable that is empty counts as unset. The error is a [configError] that lists every mistake;
// no secret is in it.
func loadConfig(environ []string, flags map[string]string) (Config, error) {
	config, _, err := readConfig(environ, flags)
	return config, err
}

// readConfig is loadConfig, and says what was given.
func readConfig(environ []string, flags map[string]string) (Config, *intake, error) {
	environment := env.ToMap(environ)
	in := newIntake(environment, flags)
	in.refuseStrangers(environment)
	in.checkTexts()
	in.readSecrets(slices.DeleteFunc(settings(), func(s setting) bool { return s.client }))
	config := in.parse()
	in.check(config, bounds())
	in.shortenDefaults(&config)
	in.check(config, relations())
	in.checkCallers(config)
	if err := in.err(); err != nil {
		return Config{}, in, err
	}
	return config, in, nil
}
