package spans

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9/maintnotifications"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

func noMaintenance() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// collector is one that takes all it is sent.
type collector struct {
	t   *testing.T
	url string

	mu     sync.Mutex
	bodies []string
	heads  []http.Header
}

func collect(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("got %s %s, a %q, %v", r.Method, r.URL, r.Header.Get("Content-Type"), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodies, c.heads = append(c.bodies, string(body)), append(c.heads, r.Header)
}

func (c *collector) raw() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bodies
}

// got returns how many requests there were, and the spans in them.
func (c *collector) got() (requests int, spans []*tracepb.Span) {
	for _, body := range c.raw() {
		requests++
		var data tracepb.TracesData
		if err := proto.Unmarshal([]byte(body), &data); err != nil {
			c.t.Error(err)
		}
		for _, of := range data.ResourceSpans {
			for _, scope := range of.ScopeSpans {
				spans = append(spans, scope.Spans...)
			}
		}
	}
	return requests, spans
}
