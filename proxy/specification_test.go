package proxy_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/proxytest"
)

// testVersion is the build's in every world, and needs its quotes to stay one.
const testVersion = `1.0 "rc"`

// specification returns the data API's specification. Every world holds every answer to it.
var specification = sync.OnceValue(func() *proxytest.Specification {
	api := proxy.New(proxy.Parts{Callers: caller.Anonymous{}, Meter: silent{}, Log: slog.New(slog.DiscardHandler), Version: testVersion})
	recorder := httptest.NewRecorder()
	request := localGet(context.Background(), "/openapi.yaml")
	request.Header.Set("X-Request-Id", "specification") // or one would be drawn, and others be drawn otherwise
	api.ServeHTTP(recorder, request)
	read, err := proxytest.Read(context.Background(), recorder.Body.Bytes())
	if err != nil {
		panic(err)
	}
	return read
})

func TestSpecificationIsServedWithTheVersionOfTheBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.get("/openapi.yaml")
	a.want(t, http.StatusOK)
	if kind := a.header.Get("Content-Type"); kind != "application/yaml" {
		t.Errorf("Content-Type is %q", kind)
	}
	read, err := proxytest.Read(t.Context(), []byte(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if got := read.Version(); got != testVersion {
		t.Errorf("it is of version %q, want %q", got, testVersion)
	}
	w.wantUntouched()
}

// What there is to ask for is a caller's to know, whatever routes it may use; a stranger learns nothing, as of any path.
func TestSpecificationIsForCallersAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, admitting("\n  - {name: backend, keys: [\"%s\"], routes: [forget], clients: [nobody], rate: 1/m}"))
	w.get("/openapi.yaml").wantProblem(t, "caller_unauthenticated")
	w.get("/openapi.yaml", w.key+"x").wantProblem(t, "caller_unauthenticated")
	w.get("/openapi.yaml", w.key).want(t, http.StatusOK)
	w.get("/openapi.yaml", w.key).wantProblem(t, "caller_rate_limited")
	anybody := newWorld(t)
	anybody.get("/openapi.yaml", "Origin: https://app.example").wantProblem(t, "caller_forbidden")
	w.wantUntouched()
}

func TestSpecificationHasEveryRouteAndNoOther(t *testing.T) {
	t.Parallel()
	routes := newWorld(t).api.Routes()
	for i, route := range routes {
		routes[i] = strings.ReplaceAll(route, ":clientId", "{clientId}")
	}
	slices.Sort(routes)
	if diff := cmp.Diff(routes, specification().Operations()); diff != "" {
		t.Errorf("routes (-served +specified):\n%s", diff)
	}
}

func TestSpecificationHasEveryCodeWithItsStatus(t *testing.T) {
	t.Parallel()
	want := proxy.Codes()
	slices.Sort(want)
	got := specification().Known()
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("codes (-possible +specified):\n%s", diff)
	}
	statuses := specification().Codes()
	for _, code := range want {
		if s := slices.Compact(slices.Clone(statuses[code])); !slices.Equal(s, []int{promises[code].status}) {
			t.Errorf("%s is specified with status %v, want %d", code, s, promises[code].status)
		}
	}
	if len(statuses) != len(want) {
		t.Errorf("%d codes have a status, want %d", len(statuses), len(want))
	}
}
