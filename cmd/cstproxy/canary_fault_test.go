package main

import (
	"encoding/base64"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// mishap is what goes wrong in a run.
type mishap struct {
	portal portaltest.Fault
	redis  func(*canaryRun)
	// heals has Redis answer again, once the process has ended.
	heals func(*canaryRun)
	// breaks names the function whose callees panic, on all that ask for the time; empty is every one.
	breaks *string
	// end is the signal that ends the process; by default it ends as it should.
	end syscall.Signal
	// shows is what the process must have said, for the trouble to have been one.
	shows string
}

func mishaps() map[string]mishap {
	resume := func(r *canaryRun) { r.redis.Resume() }
	portal := func(fault portaltest.Fault) mishap { return mishap{portal: fault} }
	status := func(status int) mishap { return portal(portaltest.Fault{Kind: portaltest.Status, Status: status}) }
	return map[string]mishap{
		"nothing":                         {},
		"Portal says 400":                 status(400),
		"Portal says 401":                 status(401),
		"Portal says 403":                 status(403),
		"Portal says 404":                 status(404),
		"Portal says 418":                 status(418),
		"Portal says 429":                 portal(portaltest.Fault{Kind: portaltest.Status, Status: 429, RetryAfter: "1"}),
		"Portal says 500":                 status(500),
		"Portal hangs up":                 portal(portaltest.Fault{Kind: portaltest.Reset}),
		"Portal's answer is lost":         portal(portaltest.Fault{Kind: portaltest.Lost}),
		"Portal hangs":                    portal(portaltest.Fault{Kind: portaltest.Hang}),
		"Portal is slow":                  portal(portaltest.Fault{Latency: 3 * reachTime / 100}),
		"Portal sends elsewhere":          portal(portaltest.Fault{Kind: portaltest.Redirect}),
		"Portal talks nonsense":           portal(portaltest.Fault{Kind: portaltest.Garbage}),
		"Portal talks on and on":          portal(portaltest.Fault{Kind: portaltest.Huge}),
		"Portal sends no token":           portal(portaltest.Fault{Kind: portaltest.NoToken}),
		"Portal answers for another":      portal(portaltest.Fault{Kind: portaltest.WrongID}),
		"Redis is dead":                   {redis: func(r *canaryRun) { r.redis.Kill() }, heals: func(r *canaryRun) { r.redis.Restart() }, shows: "token not stored"},
		"Redis hangs":                     {redis: func(r *canaryRun) { r.redis.Pause() }, heals: resume, shows: "token not stored"},
		"Redis refuses the password":      {redis: (*canaryRun).changePassword, shows: "WRONGPASS"},
		"Redis is wiped":                  {redis: func(r *canaryRun) { r.redis.Do("FLUSHALL") }},
		"Redis is read-only":              {redis: func(r *canaryRun) { r.redis.Do("REPLICAOF", "127.0.0.1", "1") }, shows: "READONLY"},
		"Redis is full":                   {redis: func(r *canaryRun) { r.redis.Do("CONFIG", "SET", "maxmemory", "1") }, shows: "OOM"},
		"records are torn":                {redis: (*canaryRun).tearRecords},
		"SIGQUIT":                         {end: syscall.SIGQUIT, shows: "SIGQUIT: quit"},
		"SIGABRT":                         {end: syscall.SIGABRT, shows: "SIGABRT: abort"},
		"SIGSEGV":                         {end: syscall.SIGSEGV, shows: "SIGSEGV: segmentation violation"},
		"a handler panics":                {breaks: new("echo/v4.(*Echo).ServeHTTP"), shows: "panic in a handler"},
		"a goroutine panics":              {breaks: new(""), shows: "panic: the clock is broken"},
		"SIGQUIT while Portal hangs":      {portal: portaltest.Fault{Kind: portaltest.Hang}, end: syscall.SIGQUIT, shows: "SIGQUIT: quit"},
		"SIGABRT while Redis hangs":       {redis: func(r *canaryRun) { r.redis.Pause() }, heals: resume, end: syscall.SIGABRT, shows: "SIGABRT: abort"},
		"SIGQUIT with a password refused": {redis: (*canaryRun).changePassword, end: syscall.SIGQUIT, shows: "SIGQUIT: quit"},
	}
}

func (r *canaryRun) changePassword() {
	r.redis.Do("ACL", "SETUSER", "cstproxy", "resetpass", ">"+r.canaries.make("Redis password", ""))
	r.redis.Do("CLIENT", "KILL", "USER", "cstproxy")
}

// tearRecords spoils what every record begins with.
func (r *canaryRun) tearRecords() {
	for _, key := range listOf(r.redis.Do("KEYS", "*")) {
		if r.redis.Do("TYPE", key) == "string" {
			r.redis.Do("SETRANGE", key, 0, "torn")
		}
	}
}

// TestNoSecretOfARunGetsOut drives every route through every fault, at the most talkative level, and looks for every
// secret, in every disguise, in all that was written, answered and stored.
func TestNoSecretOfARunGetsOut(t *testing.T) {
	t.Parallel()
	last := "json"
	for name, what := range mishaps() {
		format := map[string]string{"json": "text", "text": "json"}[last]
		last = format
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newCanaryRun(t, format)
			r.everyRoute()
			r.suffer(what)
			r.end(what)
			for _, hit := range r.hits() {
				t.Error(hit)
			}
			r.checkRich()
			if !strings.Contains(r.child.written.String(), what.shows) {
				t.Errorf("the process did not say %q, so nothing went wrong", what.shows)
			}
		})
	}
}

// TestASecretThatGotOutOfARunIsFound plants secrets of a run where the search must find them.
func TestASecretThatGotOutOfARunIsFound(t *testing.T) {
	t.Parallel()
	r := newCanaryRun(t, "json")
	r.everyRoute()
	alice := r.alice()
	key := r.secretsToMisplace(alice.Secret)[1]
	r.redis.Do("SET", "planted", "{"+key+"}")
	_, _ = r.answers.Write([]byte(`{"clientSessionToken":"` + alice.Secret + `"}`))
	_, _ = r.child.written.Write([]byte("error: " + base64.StdEncoding.EncodeToString([]byte("Bearer "+key))))
	r.end(mishap{})
	hits := strings.Join(r.hits(), "\n")
	for _, want := range []string{"what the process wrote: " + clientAPIKey + " in base64", "an answer: " + cst + " as it is", "Redis: " + clientAPIKey + " as it is"} {
		if !strings.Contains(hits, want) {
			t.Errorf("not found in %s; found were:\n%s", want, hits)
		}
	}
}

// suffer lets the trouble happen, with callers who go on asking.
func (r *canaryRun) suffer(what mishap) {
	alice := r.alice()
	if what.redis != nil {
		what.redis(r)
	}
	if what.portal.Kind == portaltest.Redirect {
		what.portal.Location = "http://elsewhere.invalid/" + alice.Secret
	}
	r.portal.Inject(portaltest.All, what.portal)
	r.portal.KillClient("alice")
	if what.breaks != nil {
		if err := os.WriteFile(r.broken, []byte(*what.breaks), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	r.everyRoute()
	if what.redis != nil && what.end == 0 {
		// A Redis that fails is soon left alone, and who asks then does not hear what it would say.
		await(r.t, "the process to say "+what.shows, func() bool {
			r.ask(http.MethodDelete, r.child.data+"/v1/clients/alice/token", "")
			return strings.Contains(r.child.written.String(), what.shows)
		})
	}
	r.misplace(r.secretsToMisplace(alice.Secret)...)
	if (what.portal != portaltest.Fault{}) && r.portal.Stats().Faulted == 0 {
		r.t.Error("nothing went wrong at Portal")
	}
}

// secretsToMisplace returns the token, the client's permanent key, and all that the proxy was started with.
func (r *canaryRun) secretsToMisplace(token string) []string {
	secrets := []string{token}
	for key, client := range r.portal.Issued().ClientAPIKeys {
		if client == "alice" {
			secrets = append(secrets, key)
		}
	}
	r.canaries.mu.Lock()
	defer r.canaries.mu.Unlock()
	for secret := range r.canaries.kinds {
		secrets = append(secrets, secret)
	}
	return secrets
}
