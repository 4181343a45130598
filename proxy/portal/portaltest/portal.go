package portaltest

import (
	"cmp"
	"net/http"
	"path"
	"sync"
	"time"
)

// DefaultKey is the Portal API Key that is accepted unless Options names
// another. It opens nothing anywhere else.
const DefaultKey = "portal-api-key-for-tests"

// Portal's documentation: 24 h without activity, 7 days at most.
const (
	defaultIdleTTL       = 24 * time.Hour
	defaultRefreshWindow = 7 * 24 * time.Hour
)

// Options say what a new Portal is like. The zero value is Portal as its
// documentation has it, without a rate limit. The fields from RateLimit on can
// be changed later: see Behavior for what they mean.
type Options struct {
	// APIKey is the only Portal API Key accepted; empty is DefaultKey.
	APIKey string
	// Now is the clock of tokens, windows and arrivals; nil is time.Now. It
	// is called under the Portal's lock and must not call the Portal.
	Now func() time.Time
	// IdleTTL is how long a token lives after its last request; 0 is 24 h.
	IdleTTL time.Duration
	// RefreshWindow is how long after its mint a token can slide; 0 is 168 h.
	RefreshWindow time.Duration

	RateLimit           int
	MintKillsOlder      bool
	OutlivesWindow      bool
	SlideOnError        bool
	UnknownClientStatus int
	AnyClient           bool
}

// Portal is a simulated Portal. It is an http.Handler and safe for concurrent
// use.
type Portal struct {
	apiKey string
	now    func() time.Time
	routes *http.ServeMux
	closed chan struct{}
	close  func()

	mu       sync.Mutex
	ledger   ledger
	behavior Behavior
	changed  chan struct{}             // closed and replaced with each change of behavior
	minutes  map[family]*rollingMinute // family → what it admitted lately
	stats    Stats
	arrivals []arrival
}

// New returns a Portal that knows no client. It panics if the options ask for a
// behavior that Portal can't have, such as an unknown client's status of 200.
func New(options Options) *Portal {
	closed := make(chan struct{})
	p := &Portal{
		apiKey:  cmp.Or(options.APIKey, DefaultKey),
		now:     options.Now,
		closed:  closed,
		close:   sync.OnceFunc(func() { close(closed) }),
		changed: make(chan struct{}),
		minutes: map[family]*rollingMinute{custodianAPI: {}, clientsAPI: {}},
		ledger: ledger{
			idleTTL:       cmp.Or(options.IdleTTL, defaultIdleTTL),
			refreshWindow: cmp.Or(options.RefreshWindow, defaultRefreshWindow),
			clients:       map[string]*client{},
			tokens:        map[string]*token{},
			issued:        Issued{Tokens: map[string]string{}, ClientAPIKeys: map[string]string{}},
		},
	}
	if p.now == nil {
		p.now = time.Now
	}
	p.ResetCounters()
	p.Set(func(b *Behavior) { *b = options.behavior() })
	p.routes = p.newRoutes()
	return p
}

func (o Options) behavior() Behavior {
	return Behavior{
		MintKillsOlder:      o.MintKillsOlder,
		OutlivesWindow:      o.OutlivesWindow,
		SlideOnError:        o.SlideOnError,
		UnknownClientStatus: o.UnknownClientStatus,
		AnyClient:           o.AnyClient,
		RateLimit:           o.RateLimit,
	}
}

// ServeHTTP answers as Portal would, or as the current faults have it. To drop
// a connection it hijacks it; a ResponseWriter that can't be hijacked makes it
// panic with http.ErrAbortHandler, for which net/http does the same.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// ServeMux would redirect such a path to where it seems to lead.
	if path.Clean(r.URL.Path) != r.URL.Path {
		p.notFound(w, r)
		return
	}
	p.routes.ServeHTTP(w, r)
}

// Close drops every request that a fault holds back, now and later. Call it
// before closing the server, which waits for them. It may be called repeatedly.
func (p *Portal) Close() { p.close() }
