package main

import (
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// rereadEvery is how often a refused key is looked for anew: as often as a pause for it may end.
const rereadEvery = time.Second

// portalKey is the Portal API Key, which may come from a file that is replaced while the proxy runs.
type portalKey struct {
	file string
	log  *slog.Logger
	key  atomic.Pointer[session.Secret]
	// replaced is told of each new key. Set it before the first, or not at all.
	replaced func(session.Secret)

	// reading lets who comes meanwhile wait for what is read.
	reading sync.Mutex
	// next is when the file may be read again.
	next time.Time
}

func newPortalKey(config Config, log *slog.Logger) *portalKey {
	k := &portalKey{file: config.PortalAPIKeyFile, log: log}
	k.key.Store(&config.PortalAPIKey)
	return k
}

func (k *portalKey) current() session.Secret { return *k.key.Load() }

// reread takes the key that the file holds now, since Portal refuses the one in use. What is no key leaves that one.
func (k *portalKey) reread() {
	k.reading.Lock()
	defer k.reading.Unlock()
	now := time.Now()
	if k.file == "" || now.Before(k.next) {
		return
	}
	k.next = now.Add(rereadEvery)
	content, err := os.ReadFile(k.file)
	if err != nil {
		k.log.Error("Portal API Key not read again", "error", err)
		return
	}
	text := strings.TrimRight(string(content), "\r\n")
	if fault := faultOf(setting{}, text); fault != "" {
		k.log.Error("Portal API Key not read again", "error", fault)
		return
	}
	if fresh := session.NewSecret(text); !fresh.Equal(k.current()) {
		k.key.Store(&fresh)
		if k.replaced != nil {
			k.replaced(fresh)
		}
		k.log.Info("Portal API Key read again")
	}
}
