package main

import (
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the one form of such a file that the standard library can write; the password lives for minutes
	"debug/buildinfo"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

const (
	oauth2Program = "oauth2-proxy"
	// oauth2Document is where it answers the document: its type is told from the name.
	oauth2Document = tokenPath + ".json"
	// oauth2Note compares it with cstproxy.
	oauth2Note = "oauth2-proxy is what many put in front of a backend to keep sessions: for each request it takes the session's ticket from the " +
		"cookie, gets the session from Redis, opens it with the ticket's key, and lets the request through; what lies behind is the document " +
		"as a file, which oauth2-proxy serves itself, so that no second server is measured with it. Like cstproxy it opens a seal and asks who " +
		"calls in each request. It remembers nothing between requests, and its sessions end by their own clock, not by Portal's; it mints no tokens. Metrics are off, as they are by default."
)

// oauth2Settings are what its template is filled in with.
type oauth2Settings struct{ Listen, Folder, Passwords, Redis, CookieSecret string }

// oauth2Rival is oauth2-proxy with a session in Redis.
func oauth2Rival() rival {
	return rival{
		contender: contender{
			Name:    "oauth2-proxy",
			Start:   startOauth2,
			Missing: func() string { return notInstalled(oauth2Program) },
		},
		Title:   "oauth2-proxy, session in Redis",
		Version: oauth2Version,
		Note:    oauth2Note,
	}
}

func startOauth2(ctx context.Context, w *world) (*running, error) {
	program, err := installed(oauth2Program)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(w.Dir, "oauth2-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	at := target{Network: "tcp", Address: address, Path: oauth2Document}
	password := rand.Text()
	if err := configureOauth2(w, folder, password, at); err != nil {
		return nil, err
	}
	p, err := w.spawn(command{Name: filepath.Base(folder), Path: program, Args: []string{"--config", filepath.Join(folder, "oauth2-proxy.cfg")}})
	if err != nil {
		return nil, err
	}
	if err := p.await(ctx, func() bool { return signIn(ctx, &at, password) == nil }); err != nil {
		return nil, errors.Join(err, signIn(ctx, &at, password), p.Stop())
	}
	return p.answering(ctx, at)
}

// configureOauth2 writes the document, the file of passwords and the configuration into folder.
func configureOauth2(w *world, folder, password string, at target) error {
	document := filepath.Join(folder, "documents", oauth2Document)
	if err := os.MkdirAll(filepath.Dir(document), 0o700); err != nil {
		return fmt.Errorf("make the folder of documents: %w", err)
	}
	if err := os.WriteFile(document, w.Document, 0o600); err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	settings := oauth2Settings{
		Listen: at.Address, Folder: folder, Passwords: filepath.Join(folder, "htpasswd"), Redis: w.Redis.Addr,
		CookieSecret: rand.Text() + rand.Text()[:6], // 32 bytes, for AES-256
	}
	sum := sha1.Sum([]byte(password)) //nolint:gosec // as above
	line := clientID + ":{SHA}" + base64.StdEncoding.EncodeToString(sum[:]) + "\n"
	if err := os.WriteFile(settings.Passwords, []byte(line), 0o600); err != nil {
		return fmt.Errorf("write the file of passwords: %w", err)
	}
	return render(filepath.Join(folder, "oauth2-proxy.cfg"), "oauth2-proxy.cfg", settings)
}

// signIn has a session made, and adds its cookie to what is asked with.
func signIn(ctx context.Context, at *target, password string) error {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, at.Network, at.Address)
	}
	form := url.Values{"username": {clientID}, "password": {password}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/oauth2/sign_in", strings.NewReader(form))
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := (&http.Transport{DialContext: dial, DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	for _, cookie := range answer.Cookies() {
		if cookie.Value != "" {
			at.Header = http.Header{"Cookie": {cookie.Name + "=" + cookie.Value}}
			return nil
		}
	}
	return fmt.Errorf("sign in: %s without a cookie", answer.Status)
}

// oauth2Version is that of the module that the program was built of.
func oauth2Version(context.Context) (string, error) {
	built, err := buildinfo.ReadFile(filepath.Join(rivalsFolder, oauth2Program))
	if err != nil {
		return "", fmt.Errorf("read the version of oauth2-proxy: %w", err)
	}
	return fmt.Sprintf("oauth2-proxy %s (%s)", strings.TrimPrefix(built.Main.Version, "v"), built.GoVersion), nil
}
