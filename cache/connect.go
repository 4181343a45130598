package cache

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// The parser's own errors quote the URL, where a password with a / or ? in it stands for a path or a parameter.
var (
	errNoURL    = errors.New("it is no URL: are the special characters of the password percent-encoded?")
	errBadParts = errors.New("its scheme (redis, rediss or unix), database or parameters are not known here, " +
		"or special characters of the password are not percent-encoded")
	errNoMaster  = errors.New("master_name is empty")
	errBadSwitch = errors.New("cluster is neither true nor false")
)

// parameters are those of a URL that count. How long Redis may take, and whether it is asked twice, is not among them.
var parameters = []string{"addr", "cluster", "db", "master_name", "username", "password", "pool_size", "skip_verify"}

func parse(u *url.URL) (*redis.UniversalOptions, error) {
	query := u.Query()
	if err := known(query); err != nil {
		return nil, err
	}
	clustered := query.Has("addr") || query.Get("cluster") == "true"
	query.Del("cluster") // ours, not the parsers'
	u.RawQuery = query.Encode()
	switch {
	case query.Has("master_name"):
		return parseSentinel(u.String())
	case clustered && strings.Trim(u.Path, "/0") != "":
		return nil, errBadParts // a Cluster has database 0 alone; the parser would not look
	case clustered:
		return parseCluster(u.String())
	}
	return parseSingle(u.String())
}

// known refuses what would be set and have no effect.
func known(query url.Values) error {
	for name := range query {
		if !slices.Contains(parameters, name) {
			return errBadParts
		}
	}
	if query.Has("master_name") && query.Get("master_name") == "" {
		return errNoMaster
	}
	if !slices.Contains([]string{"", "true", "false"}, query.Get("cluster")) {
		return errBadSwitch
	}
	return nil
}

func parseSingle(target string) (*redis.UniversalOptions, error) {
	o, err := redis.ParseURL(target)
	if err != nil {
		return nil, errBadParts
	}
	return &redis.UniversalOptions{
		Addrs: []string{o.Addr}, DB: o.DB, Username: o.Username, Password: o.Password,
		TLSConfig: o.TLSConfig, PoolSize: o.PoolSize,
	}, nil
}

func parseSentinel(target string) (*redis.UniversalOptions, error) {
	o, err := redis.ParseFailoverURL(target)
	if err != nil {
		return nil, errBadParts
	}
	return &redis.UniversalOptions{
		Addrs: o.SentinelAddrs, MasterName: o.MasterName, DB: o.DB, Username: o.Username, Password: o.Password,
		SentinelUsername: o.SentinelUsername, SentinelPassword: o.SentinelPassword,
		TLSConfig: o.TLSConfig, PoolSize: o.PoolSize,
	}, nil
}

func parseCluster(target string) (*redis.UniversalOptions, error) {
	o, err := redis.ParseClusterURL(target)
	if err != nil {
		return nil, errBadParts
	}
	return &redis.UniversalOptions{
		Addrs: o.Addrs, IsClusterMode: true, Username: o.Username, Password: o.Password,
		TLSConfig: o.TLSConfig, PoolSize: o.PoolSize,
	}, nil
}

// tune sets what go-redis leaves patient: it would spend seconds on a hung server, and send a command again when only
// the reply was lost.
func tune(o *redis.UniversalOptions) {
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = opTimeout, opTimeout, opTimeout, opTimeout
	o.ContextTimeoutEnabled = true
	// Both would put more commands on a new connection than the one that is waited for.
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}
