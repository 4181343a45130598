package main

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// auditLine is a line of audit as it is written.
type auditLine struct {
	Time                             time.Time
	Msg                              string
	Audit                            bool
	Caller, Client, Decision, Reason string
	TokenID                          string `json:"token_id"`
	Rejected                         string `json:"rejected_token_id"`
	Method, Route                    string
	Status                           int
	RequestID                        string `json:"request_id"`
}

// auditLines returns the lines of audit in text; other lines it may have. Each must be whole.
func auditLines(t *testing.T, text string) []auditLine {
	t.Helper()
	var lines []auditLine
	for line := range strings.Lines(text) {
		var one auditLine
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Errorf("not a line: %q", line)
		}
		if one.Audit {
			lines = append(lines, one)
		}
	}
	return lines
}

func readAudit(t *testing.T, path string) []auditLine {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return auditLines(t, string(text))
}

// events returns what the lines are about, each with its decision.
func events(lines []auditLine) []string {
	var list []string
	for _, l := range lines {
		list = append(list, strings.TrimSpace(l.Msg+" "+l.Decision))
	}
	return list
}

// withAudit starts a proxy with an audit, in a file of the test's own if into names none.
func withAudit(t *testing.T, into string, environ ...string) (*child, *portaltest.Portal) {
	t.Helper()
	portal, settings := simulated(t, portaltest.Options{AnyClient: true})
	return serve(t, append(append(settings, "CSTPROXY_AUDIT="+into), environ...)...), portal
}

func TestTheAuditHasALineForEachRequestAndEachToken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit")
	c, portal := withAudit(t, "file:"+path)
	first := c.mustFetch("alice", "")
	c.mustFetch("alice", "")
	portal.Kill(first.Secret)
	second := c.mustFetch("alice", "?minTtl=24h")
	third := c.mustFetch("alice", "?rejected="+second.TokenID)
	c.mustDo(http.MethodGet, "/v1/clients/alice", http.StatusOK)
	c.mustDo(http.MethodDelete, "/v1/clients/alice/token", http.StatusNoContent)
	c.mustDo(http.MethodGet, "/v1/clients/no%20id/token", http.StatusBadRequest)
	made := c.register("key")

	lines := readAudit(t, path)
	want := []string{
		"minted", "granted mint", "granted cache", "rejected", "minted", "granted mint", "minted", "granted mint",
		"inspected", "forgotten", "refused invalid_client_id", "registered", "granted mint",
	}
	if diff := cmp.Diff(want, events(lines)); diff != "" {
		t.Fatalf("audit (-want +got):\n%s", diff)
	}
	minted := lines[0]
	if minted.Client != "alice" || minted.TokenID != first.TokenID || minted.Reason != "absent" || minted.RequestID != lines[1].RequestID || minted.Caller == "" {
		t.Errorf("the first mint is %+v, want it to say for whom and why", minted)
	}
	if rejected := lines[3]; rejected.TokenID != first.TokenID || rejected.Client != "alice" {
		t.Errorf("the rejected token is %+v, want alice's first", rejected)
	}
	if last := lines[7]; last.TokenID != third.TokenID || last.Rejected != second.TokenID || last.Route != "/v1/clients/:clientId/token" || last.Status != 200 {
		t.Errorf("the last token of alice is handed out as %+v", last)
	}
	if registered := lines[11]; registered.Client != made.ID || registered.TokenID != made.TokenID {
		t.Errorf("the registration is %+v, want client %s", registered, made.ID)
	}
	for _, l := range lines {
		if time.Since(l.Time) > time.Minute {
			t.Errorf("a line is dated %s", l.Time)
		}
	}
	checkNoToken(t, path, first, second, third, made)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file has mode %v, %v; want it to be its owner's alone", info.Mode(), err)
	}
}

func checkNoToken(t *testing.T, path string, tokens ...token) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range append(tokens, token{Secret: portaltest.DefaultKey}) {
		if strings.Contains(string(text), one.Secret) {
			t.Errorf("the audit has a secret in it")
		}
	}
}

// A mint whose caller has left is on record, too.
func TestAMintThatNobodyWaitsForHasALine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit")
	c, portal := withAudit(t, "file:"+path)
	portal.Inject(portaltest.Mint, portaltest.Fault{Latency: 300 * time.Millisecond})
	c.client.Timeout = 100 * time.Millisecond
	if _, err := c.fetch("alice", ""); err == nil {
		t.Fatal("the caller did not leave")
	}
	c.client.Timeout = patience
	await(t, "the mint", func() bool { return len(readAudit(t, path)) == 2 })
	if got, want := events(readAudit(t, path)), []string{"refused client_gone", "minted"}; !cmp.Equal(got, want) {
		t.Errorf("audit %q, want %q", got, want)
	}
}

func TestTheAuditInTheLogIsJSONWhateverTheLogIs(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			c, _ := withAudit(t, "log", "CSTPROXY_LOG_FORMAT="+format)
			c.mustFetch("alice", "")
			var marked strings.Builder
			await(t, "two lines of audit", func() bool {
				marked.Reset()
				for line := range strings.Lines(c.written.String()) {
					if strings.Contains(line, `"audit":true`) {
						marked.WriteString(line)
					}
				}
				return strings.Count(marked.String(), "\n") == 2
			})
			if got, want := events(auditLines(t, marked.String())), []string{"minted", "granted mint"}; !cmp.Equal(got, want) {
				t.Errorf("audit %q, want %q", got, want)
			}
		})
	}
}

func TestWithoutAnAuditNothingIsWritten(t *testing.T) {
	t.Parallel()
	c, _ := withAudit(t, "off")
	c.mustFetch("alice", "")
	if strings.Contains(c.written.String(), `"audit"`) {
		t.Errorf("wrote %s", c.written.String())
	}
}

func TestADiskThatIsFull(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Fatal("this test needs /dev/full")
	}
	t.Run("costs lines and no request", func(t *testing.T) {
		t.Parallel()
		c, _ := withAudit(t, "file:/dev/full")
		for range 10 {
			c.mustFetch("alice", "")
		}
		if failed := c.series()[`cstproxy_audit_lines_total{outcome="failed"}`]; failed != 11 {
			t.Errorf("%v lines are counted as lost, want 11", failed)
		}
		if n := strings.Count(c.written.String(), "audit not written"); n != 1 {
			t.Errorf("logged %d times, want once:\n%s", n, c.written.String())
		}
	})
	t.Run("costs every token where no line is no token", func(t *testing.T) {
		t.Parallel()
		c, portal := withAudit(t, "file:/dev/full", "CSTPROXY_AUDIT_STRICT=true")
		for _, path := range []string{"/v1/clients/alice/token", "/v1/clients/alice/token", "/v1/clients/bob/token", "/v1/clients/alice"} {
			got := c.get(c.data + path)
			if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" ||
				!strings.Contains(string(got.body), `"audit_unavailable"`) || strings.Contains(string(got.body), "clientSessionToken") {
				t.Errorf("%s: answered %d with %s", path, got.status, got.body)
			}
		}
		if mints := portal.Stats().Mints; mints != 1 {
			t.Errorf("Portal minted %d tokens, want only the one by which it was found out", mints)
		}
		if served := c.series()[`cstproxy_tokens_served_total{source="mint"}`]; served != 0 {
			t.Errorf("%v tokens count as handed out", served)
		}
	})
}

func TestAnAuditThatCanNotBeOpenedIsFoundOutAtTheStart(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"a directory": t.TempDir(), "in no directory": filepath.Join(t.TempDir(), "none", "audit"), "a pipe, which nobody reads": pipe,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, environ := simulated(t, portaltest.Options{})
			environ = append(environ, "CSTPROXY_AUDIT=file:"+path, "CSTPROXY_LISTEN=127.0.0.1:0", "CSTPROXY_ADMIN_LISTEN=127.0.0.1:0")
			if code := finish(t, environ, "serve"); code != exitFailed {
				t.Errorf("exit code %d, want 1", code)
			}
		})
	}
}

// What logrotate does: rename, have the process told, or not.
func TestTheAuditFollowsItsName(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rotate func(t *testing.T, c *child, path string)
	}{
		"renamed, and told": {func(t *testing.T, c *child, path string) {
			mustRename(t, path)
			c.signal(syscall.SIGHUP)
			await(t, "another file", func() bool { _, err := os.Stat(path); return err == nil })
		}},
		"renamed, and not told": {func(t *testing.T, _ *child, path string) {
			mustRename(t, path)
			lasting(t, lookAgain)
		}},
		"renamed, and another made": {func(t *testing.T, _ *child, path string) {
			mustRename(t, path)
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			lasting(t, lookAgain)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "audit")
			c, _ := withAudit(t, "file:"+path)
			c.mustFetch("alice", "")
			tt.rotate(t, c, path)
			c.mustFetch("bob", "")
			old, now := readAudit(t, path+".1"), readAudit(t, path)
			if len(old) != 2 || old[1].Client != "alice" || len(now) != 2 || now[1].Client != "bob" {
				t.Errorf("the old file has %+v and the new one %+v, want alice and bob", old, now)
			}
		})
	}
}

func mustRename(t *testing.T, path string) {
	t.Helper()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
}

func TestALineThatWasCutOffSpoilsNoOther(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit")
	f, err := openAppend(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(line string) {
		t.Helper()
		if _, err := f.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	write("whole\n")
	if _, err := f.file.WriteString("cut o"); err != nil {
		t.Fatal(err)
	}
	f.torn = true
	write("whole as well\n")
	write("and so on\n")
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	if want := "whole\ncut o\nwhole as well\nand so on\n"; string(text) != want {
		t.Errorf("wrote %q, want %q", text, want)
	}
}

func TestAFileThatComesBackIsWrittenAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := openAppend(filepath.Join(dir, "audit"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.close() })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	f.looked = time.Time{}
	for range 2 {
		if _, err := f.Write([]byte("lost\n")); !os.IsNotExist(err) {
			t.Errorf("a line into a file that is gone: %v, want %v", err, fs.ErrNotExist)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("kept\n")); err != nil {
		t.Error(err)
	}
	if text, _ := os.ReadFile(f.path); string(text) != "kept\n" {
		t.Errorf("wrote %q", text)
	}
}
