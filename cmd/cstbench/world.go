package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// clientID is whose token everybody answers.
	clientID = "cm0r6nkek00ej10dwwx8wdjmf"
	// documentKey holds the document in Redis, for those who GET it.
	documentKey = documentPrefix + clientID
	// tokenPath is where cstproxy answers it.
	tokenPath = "/v1/clients/" + clientID + "/token"
)

// world is what the contenders share: a folder, a real Redis, a simulated Portal, and the document.
type world struct {
	// Dir is a temporary folder; its path is short enough for sockets in it.
	Dir string
	// Proxy is the built cstproxy, Self this program.
	Proxy, Self string
	// Redis holds Document at documentKey. It keeps nothing on disk.
	Redis *redisServer
	// Document is the token document, as cstproxy answers it for clientID, and without a line end.
	Document []byte
	// Others are those of the other clients, once a contender is to be asked for them.
	Others [][]byte
	// Portal is the URL of the simulated Portal, PortalKey what it takes.
	Portal, PortalKey string

	stops []func() error
}

// redisServer is a redis-server that was started.
type redisServer struct {
	Pid    int
	Addr   string // host:port
	Socket string
	Client *redis.Client
}

// newWorld starts what the contenders share, around the cstproxy at proxy; if that is empty it builds one. Close ends it.
func newWorld(ctx context.Context, proxy string) (w *world, err error) {
	w = &world{Proxy: proxy}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if w.Self, err = os.Executable(); err != nil {
		return w, fmt.Errorf("find this program: %w", err)
	}
	if w.Dir, err = os.MkdirTemp("", "cstbench"); err != nil {
		return w, fmt.Errorf("make a folder: %w", err)
	}
	for _, step := range []func(context.Context) error{w.build, w.startRedis, w.startPortal, w.writeDocument} {
		if err := step(ctx); err != nil {
			return w, err
		}
	}
	return w, nil
}

// Close ends what was started, the last first, and removes the folder.
func (w *world) Close() (err error) {
	for _, stop := range slices.Backward(w.stops) {
		err = errors.Join(err, stop())
	}
	if w.Dir == "" {
		return err
	}
	return errors.Join(err, os.RemoveAll(w.Dir))
}

// build builds cstproxy as it is shipped.
func (w *world) build(ctx context.Context) error {
	if w.Proxy != "" {
		path, err := filepath.Abs(w.Proxy)
		w.Proxy = path
		return err
	}
	w.Proxy = filepath.Join(w.Dir, "cstproxy")
	text, err := exec.CommandContext(ctx, "make", "build", "BIN="+w.Dir+"/").CombinedOutput() //nolint:gosec // our own folder
	if err != nil {
		return fmt.Errorf("build cstproxy: %w: %s", err, text)
	}
	return nil
}

func (w *world) startRedis(ctx context.Context) error {
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("split the address of Redis: %w", err)
	}
	r := &redisServer{Addr: address, Socket: filepath.Join(w.Dir, "redis.sock")}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return fmt.Errorf("find redis-server: %w", err)
	}
	p, err := w.spawn(command{Name: "redis", Path: path, Args: []string{
		"--bind", host, "--port", port, "--unixsocket", r.Socket, "--save", "", "--appendonly", "no", "--dir", w.Dir,
	}})
	if err != nil {
		return err
	}
	r.Pid = p.Pid
	r.Client = redis.NewClient(&redis.Options{Network: "unix", Addr: r.Socket, PoolSize: 1})
	w.Redis = r
	w.stops = append(w.stops, p.Stop, r.Client.Close)
	return p.await(ctx, func() bool { _, err := os.Stat(r.Socket); return err == nil && r.Client.Ping(ctx).Err() == nil })
}

func (w *world) startPortal(ctx context.Context) error {
	p, err := w.spawn(command{Name: "portal", Path: w.Proxy, Args: []string{"simulate", "--listen", "127.0.0.1:0", "--any-client", "--rate-limit", "0"}})
	if err != nil {
		return err
	}
	w.stops = append(w.stops, p.Stop)
	found, err := p.says(ctx, regexp.MustCompile(`PORTAL_API_URL=(\S+) PORTAL_API_KEY=(\S+)\n`))
	if err != nil {
		return err
	}
	w.Portal, w.PortalKey = found[1], found[2]
	return nil
}

// writeDocument has a cstproxy mint the token, and takes the document that it answers from then on.
func (w *world) writeDocument(ctx context.Context) error {
	first, err := w.startProxy(ctx, "first", "CSTPROXY_MINT_RATE=0")
	if err != nil {
		return err
	}
	if w.Document, err = w.keep(ctx, first.Target, clientID); err != nil {
		return errors.Join(err, first.Stop())
	}
	return first.Stop()
}

// writeOthers does so for the other clients, once; it takes a moment, and few contenders are asked for them.
func (w *world) writeOthers(ctx context.Context) error {
	if len(w.Others) > 0 {
		return nil
	}
	first, err := w.startProxy(ctx, "others", "CSTPROXY_MINT_RATE=0")
	if err != nil {
		return err
	}
	for i := range otherClients {
		document, err := w.keep(ctx, first.Target, otherID(i))
		if err != nil {
			return errors.Join(err, first.Stop())
		}
		w.Others = append(w.Others, document)
	}
	return first.Stop()
}

// keep keeps a client's document in Redis, and returns it.
func (w *world) keep(ctx context.Context, at target, client string) (document []byte, err error) {
	at.Path = pathOf(client)
	for range 2 { // the first is minted, and says so
		if document, err = fetch(ctx, at); err != nil {
			return nil, err
		}
	}
	if err := w.Redis.Client.Set(ctx, documentPrefix+client, document, 0).Err(); err != nil {
		return nil, fmt.Errorf("keep a document in Redis: %w", err)
	}
	return document, nil
}

// freeAddress returns an address of loopback that was free a moment ago.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// fetch asks once, and returns the body of a 200.
func fetch(ctx context.Context, t target) ([]byte, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, t.Network, t.Address)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+t.Path, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	maps.Copy(request.Header, t.Header)
	answer, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return body, err
}

// unused returns a name that nothing in the world has yet.
func (w *world) unused(kind string) (string, error) {
	for i := range mostConnections {
		name := fmt.Sprintf("%s-%d", kind, i)
		if _, err := os.Stat(filepath.Join(w.Dir, name+".log")); errors.Is(err, os.ErrNotExist) {
			return name, nil
		}
	}
	return "", fmt.Errorf("name one more %s: %w", kind, os.ErrExist)
}
