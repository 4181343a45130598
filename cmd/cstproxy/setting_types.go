package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// errNotAllowed stands for every text that a setting can't be made of. What it allows is said by the setting itself,
// not by an error down here, so that the words are the same wherever the mistake is found.
var errNotAllowed = errors.New("not an allowed value")

// apiVersion chooses Portal's paths for mint and register.
type apiVersion string

const (
	apiV1 apiVersion = "v1"
	apiV3 apiVersion = "v3"
)

// portalProxy says whether Portal is asked through the proxy that the environment names.
type portalProxy string

const (
	portalProxyOff         portalProxy = "off"
	portalProxyEnvironment portalProxy = "environment"
)

// of returns the proxy for a request to Portal, nil for none.
func (p portalProxy) of() func(*http.Request) (*url.URL, error) {
	if p == portalProxyEnvironment {
		return http.ProxyFromEnvironment
	}
	return nil
}

// redisDown says what to do while Redis can't be used.
type redisDown string

const (
	// redisDownMint works from memory and mints at this replica's share of the fleet's budget.
	redisDownMint redisDown = "mint"
	// redisDownFail answers 503.
	redisDownFail redisDown = "fail"
)

// logFormat is the form of a log line.
type logFormat string

const (
	logJSON logFormat = "json"
	logText logFormat = "text"
)

// logLevel is the least level that is logged. It is a [slog.Leveler].
type logLevel string

// Level returns slog's number for the level; Info for the zero value.
func (l logLevel) Level() slog.Level {
	switch l {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// mostRequests is far above what Portal allows, and no more than a replica can keep in mind.
const mostRequests = 100_000

// Rate is a number of requests per period. The zero Rate is no limit.
type Rate struct {
	Requests int
	Per      time.Duration // a second, a minute or an hour
}

// UnmarshalText reads N/s, N/m or N/h with N of 1 or more, or 0 for no limit.
func (r *Rate) UnmarshalText(text []byte) error {
	if string(text) == "0" {
		*r = Rate{}
		return nil
	}
	number, unit, _ := strings.Cut(string(text), "/")
	requests, err := strconv.ParseUint(number, 10, 31)
	per := ratePeriod(unit)
	if err != nil || requests == 0 || requests > mostRequests || per == 0 {
		return errNotAllowed
	}
	*r = Rate{Requests: int(requests), Per: per}
	return nil
}

func ratePeriod(unit string) time.Duration {
	switch unit {
	case "s":
		return time.Second
	case "m":
		return time.Minute
	case "h":
		return time.Hour
	}
	return 0
}

// String returns what UnmarshalText reads.
func (r Rate) String() string {
	switch r.Per {
	case 0:
		return "0"
	case time.Second:
		return fmt.Sprintf("%d/s", r.Requests)
	case time.Minute:
		return fmt.Sprintf("%d/m", r.Requests)
	case time.Hour:
		return fmt.Sprintf("%d/h", r.Requests)
	}
	return fmt.Sprintf("%d/%s", r.Requests, r.Per)
}

// baseURL is an absolute http or https URL without user info, query, fragment or a slash at its end: append a path.
type baseURL string

// UnmarshalText reads the URL and drops the slashes at its end.
func (u *baseURL) UnmarshalText(text []byte) error {
	parsed, err := url.Parse(string(text))
	if err != nil || parsed.User != nil || !isWebHost(parsed) || bytes.ContainsAny(text, "?#") {
		return errNotAllowed
	}
	*u = baseURL(strings.TrimRight(parsed.String(), "/"))
	return nil
}

func isWebHost(u *url.URL) bool {
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return false
	}
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	_, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil
}

// parseFileMode reads the nine permission bits in octal digits.
func parseFileMode(text string) (any, error) {
	mode, err := strconv.ParseUint(text, 8, 32)
	if err != nil || mode > uint64(fs.ModePerm) {
		return nil, errNotAllowed
	}
	return fs.FileMode(mode), nil
}
