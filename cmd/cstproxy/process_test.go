package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// patience is far more than anything here takes, on a busy machine too.
const patience = 20 * time.Second

// await returns once condition holds, and fails the test if it takes too long.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// simulated returns a simulated Portal of the test's own, and the settings that point a proxy at it. Its handler is
// wrapped in whatever the caller wants to see or spoil.
func simulated(t *testing.T, options portaltest.Options, wrap ...func(http.Handler) http.Handler) (*portaltest.Portal, []string) {
	t.Helper()
	portal := portaltest.New(options)
	var handler http.Handler = portal
	for _, w := range wrap {
		handler = w(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		portal.Close()
		server.Close()
	})
	key := options.APIKey
	if key == "" {
		key = portaltest.DefaultKey
	}
	return portal, []string{"PORTAL_API_URL=" + server.URL, "PORTAL_MPC_URL=" + server.URL, "PORTAL_API_KEY=" + key}
}

// redisKey is the key in Redis for this kind of thing of the client, for who has the simulated Portal's key.
func redisKey(client, kind string) string { return redisKeyUnder("cstproxy", client, kind) }

// redisKeyUnder is redisKey where the namespace is another.
func redisKeyUnder(prefix, client, kind string) string {
	key := session.NewSecret(portaltest.DefaultKey)
	seal, err := newSeal(Config{KeyPrefix: prefix, RefreshWindow: 7 * 24 * time.Hour, PortalAPIKey: key}, &watch{metrics: metrics.New(metrics.Parts{})})
	if err != nil {
		panic(err)
	}
	return seal.Key(session.ClientID(client), kind)
}

// stored returns how many of the clients have a token in Redis.
func stored(redis *redistest.Server, clients []string) (n int) {
	for _, client := range clients {
		if redis.Do("EXISTS", redisKey(client, "token")) == int64(1) {
			n++
		}
	}
	return n
}

// child is a cstproxy that runs as a process of its own. It ends with its test. Methods that return no error fail the
// test, so call them from the test's own goroutine only.
type child struct {
	t       *testing.T
	command *exec.Cmd
	written transcript
	ended   chan struct{} // closed once the process has ended and was waited for
	client  *http.Client
	// data and admin are the base URLs of the two ports, once it serves.
	data, admin string
}

// start starts cstproxy with nothing but environ in its environment.
func start(t *testing.T, environ []string, args ...string) *child {
	t.Helper()
	return starter{binary: "cstproxy"}.start(t, environ, args...)
}

// starter is how a process is started.
type starter struct {
	binary     string
	attributes *syscall.SysProcAttr
}

func (s starter) start(t *testing.T, environ []string, args ...string) *child {
	t.Helper()
	c := &child{t: t, command: exec.Command(s.binary, args...), ended: make(chan struct{})}
	c.command.SysProcAttr = s.attributes
	name, value := raceSettings()
	c.command.Env = append([]string{name + "=" + value}, environ...)
	c.launch()
	return c
}

// launch starts the child's command.
func (c *child) launch() {
	c.t.Helper()
	c.command.Stdout, c.command.Stderr = &c.written, &c.written
	c.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: patience}
	if err := c.command.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		_ = c.command.Wait() // how it ended is in its ProcessState
	}()
	c.t.Cleanup(c.end)
}

// raceSettings returns the variable that keeps the race detector from waiting for a second at the end of a process.
func raceSettings() (name, value string) { return "GORACE", "atexit_sleep_ms=0" }

// end kills the process, if need be, and shows what it wrote if that may tell why the test failed.
func (c *child) end() {
	_ = c.command.Process.Kill()
	<-c.ended
	c.client.CloseIdleConnections()
	if strings.Contains(c.written.String(), "DATA RACE") {
		c.t.Error("the process raced")
	}
	if c.t.Failed() {
		c.t.Logf("%s wrote:\n%s", c.command, c.written.String())
	}
}

// servingLine finds the addresses in the line that is logged once both ports listen, in JSON or text.
var servingLine = regexp.MustCompile(`[ "]listen["=:]+([0-9.:]+)"?[ ,]"?admin_listen["=:]+([0-9.:]+)`)

// serve starts the proxy on free ports of loopback and returns once it listens there.
func serve(t *testing.T, environ ...string) *child {
	t.Helper()
	return serveBy(t, starter{binary: "cstproxy"}, environ...)
}

func serveBy(t *testing.T, by starter, environ ...string) *child {
	t.Helper()
	c := by.start(t, append([]string{"CSTPROXY_LISTEN=127.0.0.1:0", "CSTPROXY_ADMIN_LISTEN=127.0.0.1:0"}, environ...), "serve")
	c.listening()
	return c
}

// listening returns once the child says where it listens.
func (c *child) listening() {
	c.t.Helper()
	var found []string
	await(c.t, "the proxy to serve", func() bool {
		found = servingLine.FindStringSubmatch(c.written.String())
		return found != nil || c.hasEnded()
	})
	if found == nil {
		c.t.Fatalf("the proxy ended: %s", c.command.ProcessState)
	}
	c.data, c.admin = "http://"+found[1], "http://"+found[2]
}

func (c *child) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// signal sends the process a signal, if it is there still.
func (c *child) signal(s os.Signal) { _ = c.command.Process.Signal(s) }

// wait returns how the process ended, once it has.
func (c *child) wait() *os.ProcessState {
	c.t.Helper()
	await(c.t, "the process to end", c.hasEnded)
	return c.command.ProcessState
}

// kill ends the process as a crash would.
func (c *child) kill() {
	c.t.Helper()
	c.signal(os.Kill)
	c.wait()
}

// finish runs cstproxy to its end and returns its exit code.
func finish(t *testing.T, environ []string, args ...string) (code int) {
	t.Helper()
	return start(t, environ, args...).wait().ExitCode()
}

// answer is what came back for a request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask makes one request. Headers are written as "Name: value". It is safe for concurrent use.
func (c *child) ask(method, url, body string, headers ...string) (answer, error) {
	request, err := http.NewRequestWithContext(c.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, content}, err
}

// get asks a URL that must answer.
func (c *child) get(url string) answer {
	c.t.Helper()
	got, err := c.ask(http.MethodGet, url, "")
	if err != nil {
		c.t.Fatal(err)
	}
	return got
}

// token is what a caller reads of a token document.
type token struct {
	ID      string `json:"id"`
	Secret  string `json:"clientSessionToken"`
	TokenID string `json:"tokenId"`
	Source  string `json:"source"`
}

// token returns the token document that a successful answer holds.
func (a answer) token() (token, error) {
	if a.status < 200 || a.status > 299 {
		return token{}, fmt.Errorf("status %d: %s", a.status, a.body)
	}
	var got token
	err := json.Unmarshal(a.body, &got)
	return got, err
}

// fetch asks for the client's token; query may be empty. It is safe for concurrent use.
func (c *child) fetch(client, query string) (token, error) {
	got, err := c.ask(http.MethodGet, c.data+"/v1/clients/"+client+"/token"+query, "")
	if err != nil {
		return token{}, err
	}
	return got.token()
}

// mustFetch is fetch for the test's own goroutine.
func (c *child) mustFetch(client, query string) token {
	c.t.Helper()
	got, err := c.fetch(client, query)
	if err != nil {
		c.t.Fatalf("fetch %s%s: %v", client, query, err)
	}
	return got
}

// fetchAll fetches a token of each client, several at a time (:: client → token). Each must come from source.
func (c *child) fetchAll(clients []string, source string) map[string]token {
	c.t.Helper()
	tokens := c.fetchEach(clients)
	checkSource(c.t, tokens, source)
	return tokens
}

// fetchEach is fetchAll where a token may come from anywhere.
func (c *child) fetchEach(clients []string) map[string]token {
	c.t.Helper()
	var mu sync.Mutex
	tokens := map[string]token{}
	var group errgroup.Group
	group.SetLimit(4)
	for _, client := range clients {
		group.Go(func() error {
			got, err := c.fetch(client, "")
			if err == nil && got.ID != client {
				err = fmt.Errorf("got a token of %q", got.ID)
			}
			if err != nil {
				return fmt.Errorf("fetch %s: %w", client, err)
			}
			mu.Lock()
			defer mu.Unlock()
			tokens[client] = got
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		c.t.Error(err)
	}
	return tokens
}

func checkSource(t *testing.T, tokens map[string]token, source string) {
	t.Helper()
	for client, got := range tokens {
		if got.Source != source {
			t.Errorf("%s got its token from %q, want %q", client, got.Source, source)
		}
	}
}

// register registers a client under an Idempotency-Key.
func (c *child) register(key string) token {
	c.t.Helper()
	got, err := c.ask(http.MethodPost, c.data+"/v1/clients", "", "Idempotency-Key: "+key)
	if err != nil {
		c.t.Fatal(err)
	}
	made, err := got.token()
	if err != nil {
		c.t.Fatalf("register: %v", err)
	}
	return made
}

// series returns what /metrics shows (:: name with labels → value).
func (c *child) series() map[string]float64 {
	c.t.Helper()
	series := map[string]float64{}
	for line := range strings.Lines(string(c.get(c.admin + "/metrics").body)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			series[name] = value
		}
	}
	return series
}

// clientIDs returns n client ids that begin with prefix.
func clientIDs(prefix string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%03d", prefix, i)
	}
	return ids
}

// transcript keeps all that was written to it. It is safe for concurrent use.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
