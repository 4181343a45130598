package portal_test

import (
	"crypto/tls"
	"testing"

	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// BenchmarkMint is a round trip over loopback. Its allocations are the simulated Portal's too.
func BenchmarkMint(b *testing.B) {
	sim := portaltest.New(portaltest.Options{AnyClient: true})
	secure := serve(b, sim, secured(&tls.Config{MinVersion: tls.VersionTLS12}))
	for name, c := range map[string]*portal.Client{
		"over HTTP/1.1": newClient(b, serve(b, sim).URL), "over HTTP/2": trusting(b, secure),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Mint(b.Context(), alice, session.Absent); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
