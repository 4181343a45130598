package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shownOf returns a setting as config shows it.
func shownOf(t *testing.T, variable string, environ []string, flags map[string]string) shownSetting {
	t.Helper()
	_, in, err := readConfig(environ, flags)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range in.effective().Settings {
		if s.Variable == variable {
			return s
		}
	}
	t.Fatalf("%s is not shown", variable)
	return shownSetting{}
}

func TestConfigSaysWhereAValueComesFrom(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "redis://:pw@host\n")
	margin := func(value, origin, from string) shownSetting {
		return shownSetting{Variable: "CSTPROXY_SAFETY_MARGIN", Flag: "--safety-margin", Value: value, Origin: origin, From: from}
	}
	for name, tt := range map[string]struct {
		environ []string
		flags   map[string]string
		want    shownSetting
	}{
		"the default":               {nil, nil, margin("1m", "default", "")},
		"a variable":                {[]string{"CSTPROXY_SAFETY_MARGIN=2m"}, nil, margin("2m", "environment", "CSTPROXY_SAFETY_MARGIN")},
		"a flag over a variable":    {[]string{"CSTPROXY_SAFETY_MARGIN=2m"}, map[string]string{"safety-margin": "3m"}, margin("3m", "flag", "--safety-margin")},
		"another setting bounds it": {[]string{"CSTPROXY_IDLE_TTL=10m"}, nil, margin("20s", "derived", "")},
		"an empty variable":         {[]string{"CSTPROXY_SAFETY_MARGIN="}, nil, margin("1m", "default", "")},
		"a secret from its file":    {[]string{"REDIS_URL_FILE=" + file}, nil, shownSetting{Variable: "REDIS_URL", Value: "[redacted]", Origin: "file", From: file}},
		"a secret from its flag":    {nil, map[string]string{"redis-url-file": file}, shownSetting{Variable: "REDIS_URL", Value: "[redacted]", Origin: "file", From: file}},
		"a secret in a variable":    {[]string{"REDIS_URL=redis://:pw@host"}, nil, shownSetting{Variable: "REDIS_URL", Value: "[redacted]", Origin: "environment", From: "REDIS_URL"}},
		"a secret that is not set":  {nil, nil, shownSetting{Variable: "REDIS_URL", Origin: "unset"}},
		"a caller's key":            {[]string{"CSTPROXY_CALLER_KEY=cstp_x"}, nil, shownSetting{Variable: "CSTPROXY_CALLER_KEY", Value: "[redacted]", Origin: "environment", From: "CSTPROXY_CALLER_KEY"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := shownOf(t, tt.want.Variable, withKey(tt.environ...), tt.flags)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigShowsEverySettingInOrder(t *testing.T) {
	t.Parallel()
	out, _, code := ran(t, withKey(), "config")
	if code != exitDone {
		t.Fatal(code)
	}
	var want, got []string
	for _, s := range settings() {
		want = append(want, s.variable)
	}
	for line := range strings.Lines(out) {
		got = append(got, strings.Fields(line)[0])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
