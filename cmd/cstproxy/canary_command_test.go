package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheCommandLineTellsNoSecret calls each command with secrets where they belong, and where somebody in a hurry puts
// them.
func TestTheCommandLineTellsNoSecret(t *testing.T) {
	t.Parallel()
	var c canaries
	key, password := c.make("Portal API Key", "portal-key-"), c.make("Redis password", "redis-password-")
	callerKey := c.make("caller's key", "cstp_")
	right := []string{"PORTAL_API_KEY=" + key, "PORTAL_API_URL=http://127.0.0.1:1", "REDIS_URL=redis://user:" + password + "@127.0.0.1:1"}
	with := func(more ...string) []string { return append(append([]string{}, right...), more...) }
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	}))
	t.Cleanup(echo.Close)
	stranger := echo.Listener.Addr().String()
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
		"config":                           {with("CSTPROXY_CALLER_KEY=" + callerKey), []string{"config"}, exitDone},
		"config, in JSON":                  {with("CSTPROXY_CALLER_KEY=" + callerKey), []string{"config", "--output", "json"}, exitDone},
		"config, a mistake in it":          {with("CSTPROXY_IDLE_TTL=never"), []string{"config"}, exitMisuse},
		"check, in JSON":                   {right, []string{"check", "--output", "json"}, exitFailed},
		"stats, with nobody there":         {with("CSTPROXY_ADMIN_LISTEN=127.0.0.1:1"), []string{"stats"}, exitFailed},
		"token, with nobody there":         {with("CSTPROXY_LISTEN=127.0.0.1:1", "CSTPROXY_CALLER_KEY="+callerKey), []string{"token", "get", "alice"}, exitFailed},
		"token, at somebody else's":        {with("CSTPROXY_LISTEN="+stranger, "CSTPROXY_CALLER_KEY="+callerKey), []string{"token", "get", "alice"}, exitFailed},
		"a key for a client":               {with("CSTPROXY_LISTEN=127.0.0.1:1"), []string{"token", "get", key}, exitFailed},
		"a key for no client":              {right, []string{"token", "get", key + "!"}, exitMisuse},
		"a key for a token id":             {right, []string{"token", "reject", "alice", key}, exitMisuse},
		"a key too many":                   {right, []string{"token", "status", "alice", key}, exitMisuse},
		"a caller's key by a flag":         {right, []string{"token", "get", "alice", "--caller-key=" + callerKey}, exitMisuse},
		"a caller's key for its file":      {with("CSTPROXY_CALLER_KEY_FILE=" + callerKey), []string{"token", "get", "alice"}, exitMisuse},
		"a caller's key with white space":  {with("CSTPROXY_CALLER_KEY=a " + callerKey), []string{"token", "get", "alice"}, exitMisuse},
		"a key for a form of output":       {right, []string{"version", "--output", key}, exitMisuse},
		"a key for a shell":                {right, []string{"completion", key}, exitMisuse},
		"a key on a line to complete":      {right, []string{"token", "get", key, "--generate-shell-completion"}, exitDone},
		"a key for a command to complete":  {right, []string{key, "--generate-shell-completion"}, exitDone},
		"a key for a file of seal keys":    {right, []string{"seal-key", "rotate", "--add", key}, exitFailed},
		"a key for a name, to make one of": {right, []string{"key", "new", key}, exitMisuse},
		"a key for an argument":            {right, []string{"serve", key}, exitMisuse},
		"a key for a command":              {right, []string{key}, exitMisuse},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := start(t, tc.environ, tc.args...)
			if code := child.wait().ExitCode(); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			said := child.written.String()
			if said == "" && !strings.HasSuffix(name, "to complete") {
				t.Error("it said nothing")
			}
			for _, place := range hearIn(c.songs(), said, everyKind) {
				t.Error(place)
			}
		})
	}
}
