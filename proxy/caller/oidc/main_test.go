package oidc_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Whatever took a proxy from the environment would reach no issuer in any test. net/http reads it once only.
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		if err := os.Setenv(name, "http://proxy.invalid:1"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}
