package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/cstproxy/cstproxy/proxy/session"
)

func (p process) config() *cli.Command {
	return &cli.Command{
		Name:         "config",
		Usage:        "list every setting with the value that it has, and where that comes from; secrets are redacted",
		Flags:        append(settingFlags(), outputFlag()),
		OnUsageError: wrongUsage(),
		Action: alone(func(_ context.Context, c *cli.Command) error {
			_, in, err := readConfig(p.environ, givenFlags(c))
			if err != nil {
				return err
			}
			if formOf(c) == formJSON {
				return p.printJSON(in.effective())
			}
			return p.printSettings(in.effective().Settings)
		}),
	}
}

// Where a value comes from.
const (
	originFlag        = "flag"
	originEnvironment = "environment"
	originFile        = "file"
	originDefault     = "default"
	originDerived     = "derived"
	originUnset       = "unset"
)

// effective is a configuration as it is.
type effective struct {
	Settings []shownSetting `json:"settings"`
}

// shownSetting is a setting as it is, without anything secret.
type shownSetting struct {
	Variable string `json:"variable"`
	Flag     string `json:"flag,omitempty"`
	// Value is what the setting has, as it is spelled in a variable; empty if it has none.
	Value  string `json:"value"`
	Origin string `json:"origin"`
	// From is the flag or variable that gave the value, or the file of a secret.
	From string `json:"from,omitempty"`
}

func (in *intake) effective() effective {
	var all effective
	original := settings()
	for i, s := range in.settings {
		shown := shownSetting{Variable: s.variable, Value: s.fallback, Origin: originUnset}
		if s.flag != "" {
			shown.Flag = "--" + s.flag
		}
		got, isGiven := in.given[s.variable]
		switch {
		case isGiven:
			shown.Value, shown.From, shown.Origin = s.plain(got.value), got.name, originOf(got)
		case s.fallback != original[i].fallback:
			shown.Origin = originDerived
		case s.fallback != "":
			shown.Origin = originDefault
		case s.secret():
			in.fromFile(s, &shown)
		}
		all.Settings = append(all.Settings, shown)
	}
	return all
}

func originOf(g given) string {
	if strings.HasPrefix(g.name, "--") {
		return originFlag
	}
	return originEnvironment
}

// fromFile says of a secret that it comes from a file, if it does.
func (in *intake) fromFile(s setting, shown *shownSetting) {
	if file, ok := in.given[s.variable+fileSuffix]; ok {
		shown.Value, shown.From, shown.Origin = session.NewSecret(file.value).String(), showPath(file.value), originFile
	}
}

// plain is the value as somebody may read it who may not know what is secret in it.
func (s setting) plain(value string) string {
	if s.secret() {
		return session.NewSecret(value).String()
	}
	if s.isPathOfSecret() {
		return showPath(value)
	}
	return value
}

func (p process) printSettings(all []shownSetting) error {
	widest, widestValue := 0, 0
	for _, s := range all {
		widest, widestValue = max(widest, len(s.Variable)), max(widestValue, min(len(s.value()), longestShown))
	}
	for _, s := range all {
		origin := s.Origin
		if s.From != "" && s.From != s.Variable {
			origin += " " + s.From
		}
		if _, err := fmt.Fprintf(p.out, "%-*s  %-*s  %s\n", widest, s.Variable, widestValue, s.value(), origin); err != nil {
			return err
		}
	}
	return nil
}

// value is what stands for the value on a line.
func (s shownSetting) value() string {
	if s.Value == "" {
		return "-"
	}
	return s.Value
}
