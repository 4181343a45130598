package main

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// doorman stands before a simulated Portal and says which Portal API Keys there are. A token is none of its business.
type doorman struct {
	mu sync.Mutex
	// keys :: Portal API Key → is accepted
	keys map[string]bool
}

func (d *doorman) let(key string, in bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys[key] = in
}

func (d *doorman) guard(portal http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		in := d.keys[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
		d.mu.Unlock()
		if in {
			r.Header.Set("Authorization", "Bearer "+portaltest.DefaultKey)
		}
		portal.ServeHTTP(w, r)
	})
}

// turnover is a proxy all of whose secrets are replaced while it is asked.
type turnover struct {
	t       *testing.T
	portal  *portaltest.Portal
	doorman *doorman
	redis   *redistest.Server
	proxy   *child
	// ports vouches for the ports' certificates, for good: who asks knows it.
	ports *redistest.Authority
	// redisOwn and redisClients vouch for Redis and for the proxy, until the next turn.
	redisOwn, redisClients *redistest.Authority
	// sealed: what is kept in Redis is sealed with keys of its own, and not with what the Portal API Key gives.
	sealed bool
	// lines are those of the caller's two latest keys in the callers file; key is the one to ask with.
	lines  []string
	key    atomic.Pointer[string]
	volume *volume
	files  map[string]string
	turns  int

	// asked are the requests, failed those that failed, clients those whom they were for, minted the tokens from a mint.
	asked, failed, clients, minted atomic.Int64
}

func startTurnover(t *testing.T, sealed bool) *turnover {
	t.Helper()
	r := &turnover{
		t: t, sealed: sealed, doorman: &doorman{keys: map[string]bool{}}, redis: redistest.Start(t), files: map[string]string{},
		ports: redistest.NewAuthority(t), redisOwn: redistest.NewAuthority(t), redisClients: redistest.NewAuthority(t),
	}
	var environ []string
	r.portal, environ = simulated(t, portaltest.Options{AnyClient: true}, r.doorman.guard)
	environ = environ[:2] // without the key
	r.redis.SpeakTLS(r.redisOwn, r.redisClients)
	r.allow("user-0", "password-0")
	r.doorman.let("key-0", true)
	r.doorman.let("key-1", true)
	r.fill(r.redisOwn.PEM())
	show := r.fillKeys()
	r.volume = newVolume(t, r.files)
	for variable, name := range map[string]string{
		"PORTAL_API_KEY_FILE": "portal-key", "PORTAL_API_KEY_NEXT_FILE": "next-portal-key",
		"REDIS_USERNAME_FILE": "redis-user", "REDIS_PASSWORD_FILE": "redis-password",
		"REDIS_CA_FILE": "redis-ca", "REDIS_CERT_FILE": "redis-cert", "REDIS_KEY_FILE": "redis-key",
		"CSTPROXY_TLS_CERT_FILE": "cert", "CSTPROXY_TLS_KEY_FILE": "key",
		"CSTPROXY_ADMIN_TLS_CERT_FILE": "admin-cert", "CSTPROXY_ADMIN_TLS_KEY_FILE": "admin-key",
		"CSTPROXY_CALLERS_FILE": "callers", "CSTPROXY_SEAL_KEYS_FILE": "seal-keys",
	} {
		if _, there := r.files[name]; !there {
			continue
		}
		environ = append(environ, variable+"="+r.volume.path(name))
	}
	r.proxy = serve(t, append(environ, "REDIS_URL="+r.redis.SecureURL(), "CSTPROXY_MEMORY_TTL=0", "CSTPROXY_MINT_RATE=0")...)
	r.proxy.secured(r.ports)
	show()
	return r
}

// fillKeys puts another key of the caller's into the callers file, beside the one before, and takes the next step of a
// rotation of seal keys. show has the new key be asked with.
func (r *turnover) fillKeys() (show func()) {
	key, line := caller.NewKey()
	r.lines = append(r.lines[max(len(r.lines)-1, 0):], line)
	r.files["callers"] = fmt.Sprintf("callers:\n- {name: backend, keys: [%s], routes: [token], clients: ['*']}\n", strings.Join(r.lines, ", "))
	if r.sealed {
		r.files["seal-keys"] = r.stepSealKeys(r.files["seal-keys"])
	}
	return func() { r.key.Store(&key) }
}

func (r *turnover) stepSealKeys(before string) string {
	step := []func([]byte) ([]byte, error){cache.RetireKeys, cache.AddKey, cache.PromoteKey}[r.turns%3]
	if r.turns == 0 {
		step = func([]byte) ([]byte, error) { return cache.NewKeyset() }
	}
	keyset, err := step([]byte(before))
	if err != nil {
		r.t.Error(err)
	}
	return string(keyset)
}

// fill puts the secrets of this turn into files.
func (r *turnover) fill(vouching []byte) {
	portCert, portKey := r.ports.Issue(fmt.Sprint("data-", r.turns))
	adminCert, adminKey := r.ports.Issue(fmt.Sprint("admin-", r.turns))
	clientCert, clientKey := r.redisClients.Issue("cstproxy")
	maps.Copy(r.files, map[string]string{
		"portal-key": fmt.Sprint("key-", r.turns), "next-portal-key": fmt.Sprint("key-", r.turns+1),
		"redis-user": fmt.Sprint("user-", r.turns), "redis-password": fmt.Sprint("password-", r.turns),
		"redis-ca": string(vouching), "redis-cert": string(clientCert), "redis-key": string(clientKey),
		"cert": string(portCert), "key": string(portKey), "admin-cert": string(adminCert), "admin-key": string(adminKey),
	})
}

func (r *turnover) allow(user, password string) {
	r.redis.Do("ACL", "SETUSER", user, "reset", "on", "~*", "&*", "+@all", ">"+password)
}

// turn replaces every secret as the manual says: both are good for a while, then the old one is not. In every other turn
// Portal refuses the key before its file is written, so that the next one has to take over.
func (r *turnover) turn() {
	r.t.Helper()
	before, own, clients := r.turns, r.redisOwn, r.redisClients
	r.turns++
	if r.turns%2 == 0 {
		r.doorman.let(fmt.Sprint("key-", before), false)
		minted := r.minted.Load()
		await(r.t, "mints with the next key", func() bool { return r.minted.Load() > minted+10 })
	}
	r.doorman.let(fmt.Sprint("key-", r.turns+1), true)
	r.allow(fmt.Sprint("user-", r.turns), fmt.Sprint("password-", r.turns))
	r.redisOwn, r.redisClients = redistest.NewAuthority(r.t), redistest.NewAuthority(r.t)
	r.redis.SpeakTLS(own, clients, r.redisClients)
	r.fill(append(own.PEM(), r.redisOwn.PEM()...))
	show := r.fillKeys()
	r.volume.write(r.files)
	await(r.t, "the new secrets to be in use", func() bool { return r.reloads() == float64(len(r.watched())*r.turns) })
	show()
	r.redis.SpeakTLS(r.redisOwn, r.redisClients)
	r.doorman.let(fmt.Sprint("key-", before), false)
	r.redis.Do("ACL", "SETUSER", fmt.Sprint("user-", before), "off") // who is in stays in
	r.redis.Do("CLIENT", "KILL", "TYPE", "pubsub")                   // so that a connection is opened anew
	await(r.t, "a connection that the new secrets opened", func() bool {
		return strings.Contains(r.redis.Do("CLIENT", "LIST", "TYPE", "pubsub").(string), fmt.Sprintf("user=user-%d ", r.turns))
	})
}

func (r *turnover) watched() []string {
	watched := []string{
		fileOfKey, fileOfNextKey, fileOfRedisUsername, fileOfRedisPassword, fileOfRedisCA, fileOfRedisCertificate,
		fileOfCertificate, fileOfAdminCertificate, fileOfCallers,
	}
	if r.sealed {
		watched = append(watched, fileOfSealKeys)
	}
	return watched
}

// reloads returns how many files were put into use.
func (r *turnover) reloads() (n float64) {
	series := r.proxy.series()
	for _, file := range r.watched() {
		n += series[`cstproxy_reloads_total{file="`+file+`",outcome="used"}`]
	}
	return n
}

// ask asks for tokens until stop, with new connections, and with one that is kept: of three requests two are for a client
// that nobody asked for before, and one for a client who is there from the first turn to the last.
func (r *turnover) ask(worker int, stop <-chan struct{}) {
	kept := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.ports.Pool()}}}
	defer kept.CloseIdleConnections()
	mine := &child{t: r.t, data: r.proxy.data}
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		mine.client = r.proxy.client
		if i%4 > 0 {
			mine.client = kept
		}
		client := fmt.Sprintf("client-%d-%d", worker, i/3)
		if i%3 == 2 {
			client = fmt.Sprint("steady-", worker)
		}
		if i%3 == 0 || i == 2 {
			r.clients.Add(1)
		}
		r.askOnce(mine, client)
	}
}

func (r *turnover) askOnce(c *child, client string) {
	answered, err := c.ask(http.MethodGet, c.data+"/v1/clients/"+client+"/token", "", "Authorization: Bearer "+*r.key.Load())
	var got token
	if err == nil {
		got, err = answered.token()
	}
	switch {
	case err != nil:
		r.failed.Add(1)
		r.t.Log(err)
	case got.Source == "mint":
		r.minted.Add(1)
	}
	r.asked.Add(1)
}

// TestRotatingEverySecretFailsNoRequestAndMintsNoToken replaces the Portal API Key, the user and password of Redis, its
// authorities and certificates, those of both ports, the caller's key, and the seal keys, all at once and once a second,
// while tokens are asked for.
func TestRotatingEverySecretFailsNoRequestAndMintsNoToken(t *testing.T) {
	t.Parallel()
	for name, sealed := range map[string]bool{"sealed with keys of their own": true, "sealed with what the Portal API Key gives": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rotateEverything(t, sealed)
		})
	}
}

func rotateEverything(t *testing.T, sealed bool) {
	t.Helper()
	retell(t, func() (proxies []*child, check func()) {
		r := startTurnover(t, sealed)
		stop := make(chan struct{})
		var askers sync.WaitGroup
		for worker := range 4 {
			askers.Go(func() { r.ask(worker, stop) })
		}
		second := time.NewTicker(time.Second)
		defer second.Stop()
		for range longOr(60, 5) {
			<-second.C
			r.turn()
		}
		close(stop)
		askers.Wait()
		return []*child{r.proxy}, r.check
	})
}

func (r *turnover) check() {
	r.t.Logf("%d turns of %d files: %d requests for %d clients, %d failed, %d mints",
		r.turns, len(r.files), r.asked.Load(), r.clients.Load(), r.failed.Load(), r.portal.Stats().Mints)
	if r.failed.Load() > 0 || r.asked.Load() == 0 {
		r.t.Errorf("%d of %d requests failed", r.failed.Load(), r.asked.Load())
	}
	if mints, clients := int64(r.portal.Stats().Mints), r.clients.Load(); mints != clients {
		r.t.Errorf("Portal minted %d tokens for %d clients", mints, clients)
	}
	log := r.proxy.written.String()
	if strings.Contains(log, "not used") || strings.Contains(log, `"level":"ERROR"`) {
		r.t.Error("the log tells of trouble")
	}
	if got := strings.Count(log, "another took over"); got != r.turns/2 {
		r.t.Errorf("the next key took over %d times, want %d", got, r.turns/2)
	}
}
