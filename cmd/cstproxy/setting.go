package main

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/urfave/cli/v3"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// longestShown cuts a value in a message: enough to recognize it, too little to flood a log.
const longestShown = 64

// setting is one thing that an operator can set, as the tags of [Config] describe it.
type setting struct {
	field    string // its name in Config
	variable string // in the environment
	flag     string // without dashes; empty if there is none
	fallback string // the default; empty if there is none
	usage    string // what it does
	allowed  string // what it accepts
	required bool
	public   bool         // it names a file that anybody may read
	client   bool         // it is for who asks the running proxy, which itself doesn't read it
	oneOf    []string     // the only words that it accepts; empty if it has no such list
	schemes  []string     // of a secret that is a URL
	kind     reflect.Type // of its field in Config
}

// settings lists every setting in the order of [Config]. The list is the caller's own.
func settings() []setting {
	var list []setting
	for field := range reflect.TypeFor[Config]().Fields() {
		list = append(list, describe(field))
	}
	return list
}

func describe(field reflect.StructField) setting {
	s := setting{
		field:    field.Name,
		variable: field.Tag.Get("env"),
		fallback: field.Tag.Get("envDefault"),
		usage:    field.Tag.Get("usage"),
		allowed:  field.Tag.Get("allowed"),
		required: field.Tag.Get("required") == "true",
		public:   field.Tag.Get("public") == "true",
		client:   field.Tag.Get("client") == "true",
		oneOf:    strings.Fields(field.Tag.Get("oneof")),
		schemes:  strings.Fields(field.Tag.Get("schemes")),
		kind:     field.Type,
	}
	if !s.secret() {
		s.flag = flagName(s.variable)
	}
	if len(s.oneOf) > 0 {
		s.allowed = "one of " + strings.Join(s.oneOf, ", ")
	}
	return s
}

// flagName returns the flag of a variable: CSTPROXY_IDLE_TTL is --idle-ttl, PORTAL_API_URL is --portal-api-url.
func flagName(variable string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, ownPrefix), "_", "-"))
}

// secret reports whether the value must never be shown, nor be given where a list of processes shows it.
func (s setting) secret() bool { return s.kind == reflect.TypeFor[session.Secret]() }

func (s setting) isPathOfSecret() bool { return strings.HasSuffix(s.variable, fileSuffix) }

// show returns a value as a message may show it: quoted, cut, and without anything secret.
func (s setting) show(value string) string {
	if s.secret() || s.isPathOfSecret() && value != "" && !isPlainlyPath(value) {
		return session.NewSecret(value).String() // the latter may be the secret itself, in the wrong place
	}
	if s.kind == reflect.TypeFor[baseURL]() {
		value = maskURL(value)
	}
	if runes := []rune(value); len(runes) > longestShown {
		value = string(runes[:longestShown]) + "…"
	}
	return strconv.Quote(value)
}

// isPlainlyPath reports whether a value may be shown as a path. By a slash in it alone it could be base64.
func isPlainlyPath(value string) bool {
	begins := func(with string) bool { return strings.HasPrefix(value, with) }
	return (begins("/") || begins("./") || begins("../")) && !strings.ContainsFunc(value, unicode.IsControl)
}

// showPath returns a path for a message, unless it may be what belongs into its file.
func showPath(path string) string {
	if isPlainlyPath(path) {
		return path
	}
	return session.NewSecret(path).String()
}

var (
	userInfo = regexp.MustCompile(`(?s)\A([A-Za-z][A-Za-z0-9+.-]*://)?.*@`)
	urlQuery = regexp.MustCompile(`(?s)[?#].*`)
)

// maskURL hides the parts of a URL that may hold a password, whether or not it is well formed.
func maskURL(text string) string {
	text = userInfo.ReplaceAllString(text, "${1}[redacted]@")
	return urlQuery.ReplaceAllString(text, "?[redacted]")
}

// settingFlags returns a new flag for every setting of the proxy but the secrets. They hold text: loadConfig gives it a meaning,
// so that a flag and its variable are read alike and all mistakes come at once.
func settingFlags() []cli.Flag {
	var flags []cli.Flag
	for _, s := range settings() {
		if s.flag != "" && !s.client {
			flags = append(flags, s.cliFlag())
		}
	}
	return flags
}

func (s setting) cliFlag() cli.Flag {
	return &cli.StringFlag{
		Name:        s.flag,
		Usage:       fmt.Sprintf("%s: %s [$%s]", s.usage, s.allowed, s.variable),
		DefaultText: s.fallback,
	}
}

// givenFlags returns the setting flags on the command line (:: flag without dashes → value), for [loadConfig].
func givenFlags(command *cli.Command) map[string]string {
	flags := map[string]string{}
	for _, s := range settings() {
		if s.flag != "" && command.IsSet(s.flag) {
			flags[s.flag] = command.String(s.flag)
		}
	}
	return flags
}
