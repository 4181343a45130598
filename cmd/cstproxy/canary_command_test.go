package main

import (
	"path/filepath"
	"testing"
)

// TestTheCommandLineTellsNoSecret calls each command with secrets where they belong, and where somebody in a hurry puts
// them.
func TestTheCommandLineTellsNoSecret(t *testing.T) {
	t.Parallel()
	var c canaries
	key, password := c.make("Portal API Key", "portal-key-"), c.make("Redis password", "redis-password-")
	right := []string{"PORTAL_API_KEY=" + key, "PORTAL_API_URL=http://127.0.0.1:1", "REDIS_URL=redis://user:" + password + "@127.0.0.1:1"}
	with := func(more ...string) []string { return append(append([]string{}, right...), more...) }
	missing := filepath.Join(t.TempDir(), "missing")
	for name, tc := range map[string]struct {
		environ, args []string
		code          int
	}{
		"help":                            {right, []string{"--help"}, exitDone},
		"help of serve":                   {right, []string{"serve", "--help"}, exitDone},
		"version":                         {right, []string{"version"}, exitDone},
		"check, with nobody there":        {right, []string{"check"}, exitFailed},
		"healthcheck, with nobody there":  {with("CSTPROXY_ADMIN_LISTEN=127.0.0.1:1"), []string{"healthcheck"}, exitFailed},
		"serve, on an address of others":  {with("CSTPROXY_LISTEN=192.0.2.1:1"), []string{"serve"}, exitMisuse},
		"a key by a flag that is none":    {right, []string{"serve", "--portal-api-key", key}, exitMisuse},
		"a key by such a flag, and =":     {right, []string{"serve", "--portal-api-key=" + key}, exitMisuse},
		"a URL by a flag that is none":    {right, []string{"check", "--redis-url=redis://user:" + password + "@host"}, exitMisuse},
		"both a key and its file":         {with("PORTAL_API_KEY_FILE=" + missing), []string{"serve"}, exitMisuse},
		"a key in Portal's URL":           {with("PORTAL_API_URL=https://user:" + key + "@api.test"), []string{"check"}, exitMisuse},
		"a key in Portal's URL's query":   {with("PORTAL_API_URL=https://api.test/?key=" + key), []string{"check"}, exitMisuse},
		"a mistyped variable":             {with("CSTPROXY_PORTAL_API_KEY=" + key), []string{"check"}, exitMisuse},
		"a Redis URL that is none":        {with("REDIS_URL=http://user:" + password + "@host"), []string{"check"}, exitMisuse},
		"a Redis URL with a wrong port":   {with("REDIS_URL=redis://user:" + password + "@host:port"), []string{"check"}, exitFailed},
		"a Redis URL with a wrong query":  {with("REDIS_URL=redis://user:" + password + "@host?no=1"), []string{"check"}, exitFailed},
		"a Redis URL with a wrong escape": {with("REDIS_URL=redis://user:%zz" + password + "@host"), []string{"check"}, exitFailed},
		"a key with white space in it":    {with("PORTAL_API_KEY=a " + key), []string{"serve"}, exitMisuse},
		"a key where a file's name belongs": {
			with("PORTAL_API_KEY=", "PORTAL_API_KEY_FILE="+key), []string{"serve"}, exitMisuse,
		},
		"a key for an argument": {right, []string{"serve", key}, exitMisuse},
		"a key for a command":   {right, []string{key}, exitMisuse},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := start(t, tc.environ, tc.args...)
			if code := child.wait().ExitCode(); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			said := child.written.String()
			if said == "" {
				t.Error("it said nothing")
			}
			for _, place := range hearIn(c.songs(), said, everyKind) {
				t.Error(place)
			}
		})
	}
}
