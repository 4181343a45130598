package proxy_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/cstproxy/cstproxy/proxy"
)

func statusPage(t *testing.T, demo proxy.Demo) answer {
	t.Helper()
	handler := proxy.NewAdmin(proxy.AdminParts{
		Health: &proxy.Health{}, Metrics: http.NotFoundHandler(), Lifeline: http.NotFoundHandler(), Demo: demo,
	})
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
	return answer{status: recorder.Code, header: recorder.Header(), body: recorder.Body.String()}
}

func TestStatusPageRunsWhatStandsInItAndNothingElse(t *testing.T) {
	t.Parallel()
	a := statusPage(t, proxy.Demo{})
	policy := a.header.Get("Content-Security-Policy")
	for element, directive := range map[string]string{"script": "script-src", "style": "style-src"} {
		parts := regexp.MustCompile(`(?s)<`+element+`>(.*?)</`+element+`>`).FindAllStringSubmatch(a.body, -1)
		if len(parts) != 1 || len(parts[0][1]) < 1000 {
			t.Fatalf("%d elements %s", len(parts), element)
		}
		sum := sha256.Sum256([]byte(parts[0][1]))
		if want := directive + " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want+";") {
			t.Errorf("the policy lacks %s: %s", want, policy)
		}
	}
	for _, want := range []string{"default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s", want)
		}
	}
	for _, never := range []string{"unsafe", "http:", "https:", "*"} {
		if strings.Contains(policy, never) {
			t.Errorf("the policy has %q: %s", never, policy)
		}
	}
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
	} {
		if got := a.header.Get(name); got != want || a.status != http.StatusOK {
			t.Errorf("status %d, %s is %q, want %q", a.status, name, got, want)
		}
	}
}

func TestStatusPageNeedsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	body := statusPage(t, proxy.Demo{}).body
	for _, found := range regexp.MustCompile(`(?:src|href|action)\s*=\s*["']?([^"'\s>]+)`).FindAllStringSubmatch(body, -1) {
		if target := found[1]; target != "/metrics" && target != "#client" && !strings.HasPrefix(target, "data:") {
			t.Errorf("it refers to %s", target)
		}
	}
	for _, never := range []string{"innerHTML", "@import", "localStorage", "document.cookie", "STATUS_", "DEMO_"} {
		if strings.Contains(body, never) {
			t.Errorf("it has %s in it", never)
		}
	}
}

func TestStatusPageSaysWhetherItIsADemo(t *testing.T) {
	t.Parallel()
	for want, demo := range map[string]proxy.Demo{
		`<meta name="demo" content="" data-speed="">`:               {},
		`<meta name="demo" content="alice" data-speed="3600">`:      {Speed: 3600, Client: "alice"},
		`<meta name="demo" content="&lt;b&gt;" data-speed="0.001">`: {Speed: 0.001, Client: "<b>"},
		`<meta name="demo" content="alice" data-speed="1e+06">`:     {Speed: 1e6, Client: "alice"},
		`<meta name="demo" content="&#34; x=&#34;" data-speed="1">`: {Speed: 1, Client: `" x="`},
	} {
		if body := statusPage(t, demo).body; !strings.Contains(body, want) {
			t.Errorf("%+v: it lacks %s", demo, want)
		}
	}
}
