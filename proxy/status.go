package proxy

import (
	"crypto/sha256"
	_ "embed" // the parts of the page
	"encoding/base64"
	"html"
	"net/http"
	"strconv"
	"strings"
)

// The parts of the page. The scripts are one, in this order.
var (
	//go:embed status/status.html
	statusHTML string
	//go:embed status/status.css
	statusCSS string
	//go:embed status/metrics.js
	statusMetrics string
	//go:embed status/write.js
	statusWrite string
	//go:embed status/verdict.js
	statusVerdict string
	//go:embed status/lifeline.js
	statusLifeline string
	//go:embed status/status.js
	statusPage string
)

// Demo is what the status page says of a demo. The zero Demo is none.
type Demo struct {
	// Speed is how many times as fast as ours its time runs.
	Speed float64
	// Client is the one whose life-line is shown unasked.
	Client string
}

// newStatusPage returns the status page, all in one document: whoever looks at it needs nothing from anywhere else, and
// nothing from anywhere else can get into it.
func newStatusPage(demo Demo) http.HandlerFunc {
	speed := ""
	if demo.Speed > 0 {
		speed = strconv.FormatFloat(demo.Speed, 'g', -1, 64)
	}
	script := "\"use strict\";\n" + statusMetrics + statusWrite + statusVerdict + statusLifeline + statusPage
	page := []byte(strings.NewReplacer(
		"STATUS_CSS", statusCSS, "STATUS_JS", script,
		"DEMO_CLIENT", html.EscapeString(demo.Client), "DEMO_SPEED", speed,
	).Replace(statusHTML))
	policy := "default-src 'none'; connect-src 'self'; img-src data:; script-src " + hashSource(script) +
		"; style-src " + hashSource(statusCSS) +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
	return func(w http.ResponseWriter, _ *http.Request) {
		header := w.Header()
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cache-Control", "no-store")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		_, _ = w.Write(page)
	}
}

// hashSource names an inline script or style to a Content Security Policy: what was not written here does not run.
func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
