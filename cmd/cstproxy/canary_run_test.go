package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

const (
	cst          = "Client Session Token"
	clientAPIKey = "Client API Key"
)

// canaryRun is one proxy with real neighbors, at its most talkative, whose secrets are canaries.
type canaryRun struct {
	t        *testing.T
	canaries canaries
	portal   *portaltest.Portal
	redis    *redistest.Server
	folder   string // Redis's
	bearer   string // the header line by which the caller is known; empty where anybody may ask
	broken   string // the file that breaks the clock
	rounds   int    // how often every route was asked
	child    *child
	// to is who is sent traces of all that the run does.
	to *collector
	// answers is what callers were told, but for the token that a caller asked for; atRest is what Redis was sent, and
	// what it keeps.
	answers, atRest transcript
}

// settings returns what tells the proxy its secrets: each kind has its line here.
func (r *canaryRun) settings() []string {
	key, password := r.canaries.make("Portal API Key", "portal-key-"), r.canaries.make("Redis password", "redis-password-")
	r.redis.Do("ACL", "SETUSER", "cstproxy", "on", ">"+password, "~*", "&*", "+@all")
	var environ []string
	r.portal, environ = simulated(r.t, portaltest.Options{APIKey: key, AnyClient: true})
	next := r.canaries.make("next Portal API Key", "next-key-")
	r.to = collect(r.t)
	environ = append(environ, "OTEL_EXPORTER_OTLP_ENDPOINT="+r.to.url, "OTEL_TRACES_SAMPLER=always_on",
		"OTEL_EXPORTER_OTLP_HEADERS=authorization="+r.canaries.make("collector's key", "collector-key-"))
	return append(environ, "REDIS_URL=redis://cstproxy:"+password+"@"+r.redis.Addr(), "PORTAL_API_KEY_NEXT="+next,
		"CSTPROXY_SEAL_KEYS_FILE="+r.sealKeys(), "CSTPROXY_AUDIT=log")
}

// sealKeys returns a file of keys that seal what is kept in Redis.
func (r *canaryRun) sealKeys() (file string) {
	keyset, err := cache.NewKeyset()
	if err != nil {
		r.t.Fatal(err)
	}
	var content struct {
		Key []struct{ KeyData struct{ Value string } }
	}
	if err := json.Unmarshal(keyset, &content); err != nil || len(content.Key) == 0 {
		r.t.Fatalf("%v, with %d seal keys in it", err, len(content.Key))
	}
	for _, key := range content.Key {
		r.canaries.keep("seal key", key.KeyData.Value)
	}
	return writeFile(r.t, string(keyset))
}

// callers returns a file by which the run's caller is known, and has the run ask as that one.
func (r *canaryRun) callers() (file string) {
	key, line := caller.NewKey()
	r.canaries.keep("caller's key", strings.TrimPrefix(key, "cstp_"))
	r.bearer = "Authorization: Bearer " + key
	return writeFile(r.t, "callers:\n- {name: backend, keys: ["+line+"], routes: ['*'], clients: ['*']}\n")
}

// newCanaryRun starts a run, with the log in the given format.
func newCanaryRun(t *testing.T, format string) *canaryRun {
	t.Helper()
	r := &canaryRun{t: t, broken: filepath.Join(t.TempDir(), "broken")}
	r.redis = redistest.Start(t, "--appendonly", "yes", "--rdbcompression", "no")
	config, _ := r.redis.Do("CONFIG", "GET", "dir").(map[any]any)
	r.folder, _ = config["dir"].(string)
	environ := r.settings()
	if format == "text" {
		environ = append(environ, "CSTPROXY_CALLERS_FILE="+r.callers())
	}
	r.monitor()
	r.child = serve(t, append(environ, "CSTPROXY_LOG_LEVEL=debug", "CSTPROXY_LOG_FORMAT="+format, "GOTRACEBACK=system",
		"CSTPROXY_PORTAL_TIMEOUT=400ms", "CSTPROXY_MINT_RATE=0", "CSTPROXY_PROBE_RATE=0", clockBreaks+"="+r.broken)...)
	return r
}

// monitor takes down every command that Redis is sent from now on.
func (r *canaryRun) monitor() {
	connection, err := net.Dial("tcp", r.redis.Addr())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = connection.Close() })
	if _, err := io.WriteString(connection, "MONITOR\r\n"); err != nil {
		r.t.Fatal(err)
	}
	lines := bufio.NewReader(connection)
	if said, err := lines.ReadString('\n'); err != nil || said != "+OK\r\n" {
		r.t.Fatalf("MONITOR: %q, %v", said, err)
	}
	go func() { _, _ = io.Copy(&r.atRest, lines) }() // ends with the connection
}

// ask makes a request, whatever becomes of it, and takes down what was answered.
func (r *canaryRun) ask(method, target, body string, headers ...string) answer {
	given := slices.ContainsFunc(headers, func(line string) bool { return strings.HasPrefix(line, "Authorization:") })
	if r.bearer != "" && !given {
		headers = append(headers, r.bearer)
	}
	got, err := r.child.ask(method, target, body, headers...)
	if err != nil {
		return answer{} // the error's text is this process's own
	}
	for name, values := range got.header {
		_, _ = fmt.Fprintf(&r.answers, "%s: %s\n", name, strings.Join(values, ", "))
	}
	_, _ = fmt.Fprintf(&r.answers, "%s %s %d %s\n", method, got.header.Get("X-Request-Id"), got.status, r.withoutToken(target, got))
	return got
}

// alice returns alice's token.
func (r *canaryRun) alice() token {
	r.t.Helper()
	got, err := r.ask(http.MethodGet, r.child.data+"/v1/clients/alice/token", "").token()
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

// withoutToken returns the body without the token that the caller asked for: in its field, once, and of its client.
func (r *canaryRun) withoutToken(target string, got answer) string {
	body := string(got.body)
	var document token
	if got.status > 299 || json.Unmarshal(got.body, &document) != nil || document.Secret == "" {
		return body
	}
	asked, err := url.Parse(target)
	if err != nil {
		r.t.Error(err)
		return body
	}
	owner := r.portal.Issued().Tokens[document.Secret]
	named := slices.Contains(strings.Split(asked.Path, "/"), owner)
	registered := strings.HasSuffix(asked.Path, "/clients")
	// Whom a registration made is for Portal to say, and it may lie.
	if owner == "" || !registered && (document.ID != owner || !named) {
		return body
	}
	return strings.Replace(body, `"clientSessionToken":"`+document.Secret+`"`, "", 1)
}

// manualRoute finds what the manual says can be asked of the data API; each route has its method before it.
var manualRoute = regexp.MustCompile("`(GET|POST|PUT|PATCH|DELETE) (/[^`?]*)`")

// everyRoute asks all that can be asked, of both ports, and what must not be there.
func (r *canaryRun) everyRoute() {
	manual, err := os.ReadFile(readme)
	if err != nil {
		r.t.Fatal(err)
	}
	routes := manualRoute.FindAllStringSubmatch(string(manual), -1)
	if len(routes) < 9 {
		r.t.Errorf("the manual has %d routes", len(routes))
	}
	r.rounds++
	var group errgroup.Group
	group.SetLimit(8)
	ask := func(method, target, body string, headers ...string) {
		group.Go(func() error { r.ask(method, target, body, headers...); return nil })
	}
	for _, route := range routes {
		for _, client := range []string{"alice", fmt.Sprintf("cold-%d", r.rounds)} {
			ask(route[1], r.child.data+strings.ReplaceAll(route[2], "{clientId}", client), "")
		}
	}
	ask(http.MethodGet, r.child.data+"/v1/clients/alice/token?minTtl=24h", "")
	ask(http.MethodPost, r.child.data+"/v1/clients", `{"isAccountAbstracted":true}`, "Idempotency-Key: a-key")
	for _, path := range []string{"/metrics", "/livez", "/startupz", "/readyz", "/readyz?verbose", "/version", "/"} {
		ask(http.MethodGet, r.child.admin+path, "")
	}
	ask(http.MethodPost, r.child.admin+"/lifeline", `{"clientId":"alice"}`, "Content-Type: application/json")
	_ = group.Wait()
	r.checkNothingToDebug()
}

func (r *canaryRun) checkNothingToDebug() {
	for _, port := range []string{r.child.data, r.child.admin} {
		for _, path := range []string{"/debug", "/debug/", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2", "/debug/vars", "/_sim/stats"} {
			if got := r.ask(http.MethodGet, port+path, ""); got.status != http.StatusNotFound && got.status != 0 {
				r.t.Errorf("%s answers %d", path, got.status)
			}
		}
	}
}

// misplace has callers put secrets where they do not belong. A client id and a request id are what a caller says they
// are, so that what has the form of one is logged.
func (r *canaryRun) misplace(secrets ...string) {
	var group errgroup.Group
	group.SetLimit(8)
	for _, secret := range secrets {
		escaped := url.QueryEscape(secret)
		for target, headers := range map[string][]string{
			"GET /v1/clients/alice/token?rejected=" + escaped:   nil,
			"GET /v1/clients/alice/token?token=" + escaped:      nil,
			"GET /v1/clients/alice/token?minTtl=" + escaped:     nil,
			"GET /v1/clients/alice/token?" + escaped:            nil,
			"GET /v1/clients/alice/token?" + escaped + "=1":     nil,
			"GET /v1/clients/alice/token#" + escaped:            nil,
			"GET /v1/clients/!" + escaped + "/token":            nil,
			"GET /v1/clients/alice/" + escaped:                  nil,
			"GET /nowhere/" + escaped:                           nil,
			"PUT /v1/clients/alice/token":                       {"Cookie: session=" + secret},
			"POST /v1/clients/alice/activity":                   {"If-Match: \"" + secret + "\""},
			"POST /v1/clients":                                  {"Idempotency-Key: " + secret, "Authorization: Bearer " + secret},
			"POST /api/v1/custodians/clients/alice/session":     {"Authorization: Bearer " + secret, "X-Api-Key: " + secret},
			"GET /v1/clients/alice":                             {"X-Request-Id: <" + secret + ">", "User-Agent: " + secret, "Referer: " + secret},
			"DELETE /v1/clients/alice/token":                    {"If-Match: \"" + secret + "\"", "Origin: https://" + secret + ".test"},
			"POST /api/v3/custodians/me/clients/alice/sessions": {"X-Forwarded-For: " + secret, "X-Forwarded-Uri: /" + secret, "Traceparent: " + secret},
			"GET /v1/clients/alice/token?minTtl=23h":            {"Traceparent: " + traceparent, "Tracestate: vendor=" + secret, "Baggage: token=" + secret},
		} {
			method, path, _ := strings.Cut(target, " ")
			for _, body := range []string{"", secret, `{"tokenId":"` + secret + `"}`, `{"` + secret + `":1}`} {
				if method == http.MethodGet && body != "" {
					continue
				}
				group.Go(func() error { r.ask(method, r.child.data+path, body, headers...); return nil })
			}
		}
		group.Go(func() error { r.ask(http.MethodGet, r.child.admin+"/readyz?"+escaped, ""); return nil })
		group.Go(func() error { r.ask(http.MethodGet, r.child.admin+"/"+escaped, ""); return nil })
		for _, body := range []string{`{"clientId":"!` + secret + `"}`, `{"` + secret + `":1}`, secret} {
			group.Go(func() error {
				r.ask(http.MethodPost, r.child.admin+"/lifeline", body, "Content-Type: application/json")
				return nil
			})
		}
	}
	_ = group.Wait()
}

// end ends the process as the trouble would have it, and takes down all that Redis has.
func (r *canaryRun) end(what mishap) {
	r.child.signal(cmp.Or(what.end, syscall.SIGTERM))
	r.child.wait()
	if what.heals != nil {
		what.heals(r)
	}
	r.readRedis()
	issued := r.portal.Issued()
	for secret := range issued.Tokens {
		r.canaries.keep(cst, secret)
	}
	for secret := range issued.ClientAPIKeys {
		r.canaries.keep(clientAPIKey, secret)
	}
}

// readRedis asks for everything, has it saved, and reads what is in the folder: the dump and the log of what was written.
func (r *canaryRun) readRedis() {
	for _, key := range listOf(r.redis.Do("KEYS", "*")) {
		_, _ = fmt.Fprintln(&r.atRest, key, r.redis.Do("TYPE", key), r.redis.Do("DUMP", key))
	}
	_, _ = fmt.Fprintln(&r.atRest, r.redis.Do("SLOWLOG", "GET", "-1"), r.redis.Do("ACL", "LOG"), r.redis.Do("CLIENT", "LIST"))
	r.redis.Do("SAVE")
	read := map[string]int{}
	err := filepath.WalkDir(r.folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		read[filepath.Ext(path)] += len(content)
		_, _ = r.atRest.Write(content)
		return err
	})
	if err != nil || read[".rdb"] == 0 || read[".aof"] == 0 {
		r.t.Errorf("read %v of Redis's folder, %v; want its dump and its log", read, err)
	}
}

func listOf(reply any) []any {
	list, _ := reply.([]any)
	return list
}

// hits returns where a secret is in what the run left.
func (r *canaryRun) hits() []string {
	songs := r.canaries.songs()
	var hits []string
	look := func(where, text string, matters func(kind string) bool) {
		for _, place := range hearIn(songs, text, matters) {
			hits = append(hits, "in "+where+": "+place)
		}
	}
	look("what the process wrote", r.child.written.String(), everyKind)
	look("an answer", r.answers.String(), everyKind)
	look("Redis", r.atRest.String(), everyKind)
	look("a trace", r.to.bodies.String(), everyKind)
	for what, id := range r.ids() {
		if strings.Contains(r.to.bodies.String(), id) {
			hits = append(hits, "in a trace: "+what)
		}
	}
	return hits
}

// ids returns what names somebody, or something of theirs, and is no secret.
func (r *canaryRun) ids() map[string]string {
	ids := map[string]string{"the client's id": "alice", "another client's id": "cold-1", "what a request is called": "a-key"}
	for secret := range r.portal.Issued().Tokens {
		id := session.IdentifyToken(session.NewSecret(secret))
		ids["the id of token "+id.String()] = id.String()
	}
	for _, key := range listOf(r.redis.Do("KEYS", "*")) {
		if key, ok := key.(string); ok {
			ids["the key "+key] = key
		}
	}
	return ids
}

// checkRich checks that the run had enough in it to show something.
func (r *canaryRun) checkRich() {
	r.t.Helper()
	count := r.canaries.count()
	written, answers, atRest := len(r.child.written.String()), len(r.answers.String()), len(r.atRest.String())
	if len(r.to.spans()) < 20 && r.child.command.ProcessState.ExitCode() == exitDone {
		r.t.Errorf("there were %d spans, too few to show anything", len(r.to.spans()))
	}
	if count[cst] < 3 || count[clientAPIKey] < 3 || min(written, answers, atRest) < 1000 {
		r.t.Error("there was too little to show anything")
	}
	r.t.Logf("looked for %v in %d characters of output, %d of answers, %d of Redis", count, written, answers, atRest)
}
