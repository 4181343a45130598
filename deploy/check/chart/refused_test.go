package chart_test

import (
	"strings"
	"testing"

	"github.com/cstproxy/cstproxy/deploy/check/chart"
)

// TestWrongValuesAreRefusedByName has values of the library, and what the message must say: where, and what is wrong there.
func TestWrongValuesAreRefusedByName(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ values, where, what string }{
		"a key that nothing reads":            {`{shade: blue}`, "'': ", "'shade'"},
		"a key misspelled":                    {`{image: {tags: 1.0.0}}`, "/image", "'tags'"},
		"a mode not known":                    {`{mode: sidecar}`, "/mode", "'native', 'classic'"},
		"a limit of CPU":                      {`{resources: {limits: {cpu: 500m}}}`, "/resources/limits", "'cpu'"},
		"memory in a unit of tens":            {`{resources: {limits: {memory: 64M}}}`, "/resources/limits/memory", "'64M'"},
		"memory in bytes":                     {`{resources: {limits: {memory: 67108864}}}`, "/resources/limits/memory", "got number, want string"},
		"memory in halves":                    {`{resources: {limits: {memory: 0.5Gi}}}`, "/resources/limits/memory", "'0.5Gi'"},
		"no limit of memory":                  {`{resources: {limits: {memory: null}}}`, "/resources/limits", "'memory'"},
		"less memory than it needs":           {`{resources: {limits: {memory: 8Mi}}}`, "cstproxy.resources.limits.memory", "32Mi or more"},
		"memory requested on its own":         {`{resources: {requests: {memory: 64Mi}}}`, "/resources/requests", "'memory'"},
		"CPU in a unit not known":             {`{resources: {requests: {cpu: 50x}}}`, "/resources/requests/cpu", "'50x'"},
		"no CPU at all":                       {`{resources: {requests: {cpu: 0}}}`, "/resources/requests/cpu", "exclusiveMinimum"},
		"no CPU at all, in words":             {`{resources: {requests: {cpu: "0.000"}}}`, "/resources/requests/cpu", "'0.000'"},
		"a security context":                  {`{securityContext: {privileged: true}}`, "'': ", "'securityContext'"},
		"probes":                              {`{livenessProbe: null, readinessProbe: {}}`, "'': ", "'readinessProbe'"},
		"another way to listen":               {`{data: {listen: 0.0.0.0}}`, "/data/listen", "'loopback', 'socket'"},
		"a port that needs a capability":      {`{data: {port: 443}}`, "/data/port", "minimum"},
		"one port for both":                   {`{data: {port: 9090}}`, "cstproxy.data.port", "9090"},
		"a digest cut off":                    {`{image: {digest: "sha256:abc"}}`, "/image/digest", "'sha256:abc'"},
		"a pull policy not known":             {`{image: {pullPolicy: always}}`, "/image/pullPolicy", "'Always'"},
		"a Secret whose name can't be":        {`{portal: {secretName: My_Secret}}`, "/portal/secretName", "'My_Secret'"},
		"a Portal API Key in the values":      {`{portal: {apiKey: not-a-key}}`, "/portal", "'apiKey'"},
		"a key that leaves its directory":     {`{redis: {urlKey: ../url}}`, "/redis/urlKey", "'../url'"},
		"a switch in words":                   {`{tls: {enabled: "yes"}}`, "/tls/enabled", "want boolean"},
		"a token that Kubernetes won't make":  {`{callerAuth: {expirationSeconds: 60}}`, "/callerAuth/expirationSeconds", "minimum"},
		"a duration without a unit":           {`{drainDelay: "15"}`, "/drainDelay", "'15'"},
		"a delay that the proxy refuses":      {`{drainDelay: 6m}`, "/drainDelay", "'6m'"},
		"no delay at all":                     {`{drainDelay: 0s}`, "/drainDelay", "'0s'"},
		"off that YAML takes for false":       {`{settings: {audit: off}}`, "/settings/audit", "'off', 'log'"},
		"a setting not known":                 {`{settings: {idleTtl: 24h}}`, "/settings", "'idleTtl'"},
		"a setting of another form":           {`{settings: {idleTTL: 1 day}}`, "/settings/idleTTL", "'1 day'"},
		"a rate without a time":               {`{settings: {mintRate: "200"}}`, "/settings/mintRate", "'200'"},
		"a choice that is none":               {`{settings: {refresh: always}}`, "/settings/refresh", "'probe', 'assume', 'observe'"},
		"an audit into a read-only directory": {`{settings: {audit: "file:/audit"}}`, "/settings/audit", "'off', 'log'"},
		"a password in a URL":                 {`{settings: {httpsProxy: "http://me:secret@proxy:3128"}}`, "/settings/httpsProxy", "pattern"},
		"a part that is missing":              {`{redis: null}`, "'': ", "'redis'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := map[string]any{"cstproxy": parse(t, test.values)}
			refuses(t, chart.Release{Values: values}, test.where, test.what)
		})
	}
}

// refuses checks that one line of the error has all of the words.
func refuses(t *testing.T, r chart.Release, words ...string) {
	t.Helper()
	documents, err := render(t, r)
	if err == nil {
		t.Fatalf("rendered:\n%s", documents)
	}
	for line := range strings.Lines(err.Error()) {
		if hasAll(line, words) {
			return
		}
	}
	t.Errorf("no line has all of %q in: %v", words, err)
}

func hasAll(text string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// TestTemplatesRefuseWithoutTheSchema has what would be rendered wrongly rather than not at all where somebody skips it.
func TestTemplatesRefuseWithoutTheSchema(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ values, want string }{
		"a mode not known":         {`{mode: Native}`, "cstproxy.mode: Native is not a mode: want native or classic"},
		"nowhere to listen":        {`{data: {listen: unix}}`, "cstproxy.data.listen: unix is nowhere to listen: want loopback or socket"},
		"memory in a unit of tens": {`{resources: {limits: {memory: 64M}}}`, `cstproxy.resources.limits.memory: GOMEMLIMIT is nine tenths of it and can't be computed from "64M"`},
		"no limit of memory":       {`{resources: {limits: {memory: null}}}`, `cstproxy.resources.limits.memory: GOMEMLIMIT is nine tenths of it`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := map[string]any{"cstproxy": parse(t, test.values)}
			refuses(t, chart.Release{Values: values, SkipSchema: true}, test.want)
		})
	}
}

func TestJobRefusesAClassicSidecar(t *testing.T) {
	t.Parallel()
	values := parse(t, `{report: {enabled: true}, cstproxy: {mode: classic}}`)
	refuses(t, chart.Release{Values: values}, "cstproxy.mode: a Job with a sidecar in mode classic never completes: want native")
}

func TestNativeSidecarNeedsKubernetes129(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		version, mode string
		refused       bool
	}{
		"native on the last without": {"1.28.15", "native", true},
		"native on the first with":   {"1.29.0", "native", false},
		"native on a vendor's last":  {"v1.28.9-eks-1a2b3c4", "native", true},
		"native on a vendor's first": {"v1.29.0-eks-1a2b3c4", "native", false},
		"classic on an old one":      {"1.28.15", "classic", false},
		"classic on a new one":       {"1.36.0", "classic", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release := chart.Release{Kubernetes: test.version, Values: parse(t, "cstproxy: {mode: "+test.mode+"}")}
			if test.refused {
				refuses(t, release, "cstproxy.mode: native needs Kubernetes 1.29", test.version, "want classic")
				return
			}
			if _, err := render(t, release); err != nil {
				t.Error(err)
			}
		})
	}
}
