package portaltest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

func put(h http.Handler, body string) *httptest.ResponseRecorder {
	return send(h, http.MethodPut, "/_sim/behavior", "", body)
}

func TestStatsCountWhatWasDone(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{RateLimit: 6})
	portal.AddClient(alice)
	cst := mint(t, portal, alice)
	mint(t, portal, alice)
	post(portal, registerV1, portaltest.DefaultKey, "{}")
	post(portal, mintV1("unknown"), portaltest.DefaultKey, "{}")
	post(portal, mintV1(alice), "wrong", "{}")
	probe(portal, cst)
	probe(portal, "dead")
	post(portal, "/v1/sign", cst, "{}")
	post(portal, "/v1/sign", "dead", "{}")
	send(portal, "DELETE", clientsMe+"/x", cst, "")
	post(portal, "/rpc/v1/eip155/1", cst, "{}")
	post(portal, "/rpc/v1/eip155/1", "dead", "{}")
	send(portal, "GET", "/nowhere", "", "")
	portal.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Status, Status: 500})
	post(portal, mintV1(alice), portaltest.DefaultKey, "{}")
	post(portal, mintV1(alice), portaltest.DefaultKey, "{}") // the seventh of its family
	want := portaltest.Stats{
		Requests: 15, Registrations: 1, Mints: 2, Probes: 1, Uses: 2, Executions: 1, Unauthorized: 4, RateLimited: 1, Faulted: 1,
		MintsByClient: map[string]int{alice: 2},
	}
	if diff := cmp.Diff(want, portal.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
	var overHTTP portaltest.Stats
	if err := json.Unmarshal(send(portal, "GET", "/_sim/stats", "", "").Body.Bytes(), &overHTTP); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, overHTTP); diff != "" {
		t.Errorf("stats over HTTP (-want +got):\n%s", diff)
	}
}

func TestStatsAreACopy(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	portal.Stats().MintsByClient[alice] = 9
	if n := portal.Stats().MintsByClient[alice]; n != 0 {
		t.Errorf("%d mints", n)
	}
}

func TestResettingForgetsCountersOnly(t *testing.T) {
	for name, reset := range map[string]func(p *portaltest.Portal){
		"in process": (*portaltest.Portal).ResetCounters,
		"over HTTP":  func(p *portaltest.Portal) { send(p, http.MethodDelete, "/_sim/stats", "", "") },
	} {
		t.Run(name, func(t *testing.T) {
			portal, _ := newPortal(t, portaltest.Options{MintKillsOlder: true})
			portal.AddClient(alice)
			cst := mint(t, portal, alice)
			reset(portal)
			want := portaltest.Stats{MintsByClient: map[string]int{}}
			if diff := cmp.Diff(want, portal.Stats()); diff != "" {
				t.Errorf("stats (-want +got):\n%s", diff)
			}
			if n := len(portal.Arrivals(portaltest.All)); n != 0 {
				t.Errorf("%d arrivals", n)
			}
			if !portal.Accepts(cst) || !portal.Behavior().MintKillsOlder {
				t.Error("it forgot a token or a switch")
			}
		})
	}
}

func TestArrivalsListEveryRequestOfAnOperation(t *testing.T) {
	portal, clock := newPortal(t, portaltest.Options{RateLimit: 2, AnyClient: true})
	cst := mint(t, portal, alice)
	portal.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Status, Status: 500, Times: 1})
	for range 3 { // a failure, then two over the limit
		clock.Advance(time.Second)
		post(portal, mintV3(alice), portaltest.DefaultKey, "{}")
	}
	clock.Advance(time.Second)
	probe(portal, cst)
	probe(portal, "dead")
	at := func(seconds ...int) []time.Time {
		times := []time.Time{}
		for _, s := range seconds {
			times = append(times, epoch.Add(time.Duration(s)*time.Second))
		}
		return times
	}
	for operation, want := range map[portaltest.Operation][]time.Time{
		portaltest.Mint:     at(0, 1, 2, 3),
		portaltest.Probe:    at(4, 4),
		portaltest.Register: at(),
		portaltest.All:      at(0, 1, 2, 3, 4, 4),
	} {
		t.Run(string(operation), func(t *testing.T) {
			if diff := cmp.Diff(want, portal.Arrivals(operation)); diff != "" {
				t.Errorf("arrivals (-want +got):\n%s", diff)
			}
			var overHTTP struct{ Arrivals []time.Time }
			w := send(portal, "GET", "/_sim/arrivals?operation="+string(operation), "", "")
			if err := json.Unmarshal(w.Body.Bytes(), &overHTTP); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, overHTTP.Arrivals); diff != "" {
				t.Errorf("arrivals over HTTP (-want +got):\n%s", diff)
			}
		})
	}
	if w := send(portal, "GET", "/_sim/arrivals", "", ""); strings.Count(w.Body.String(), "2026") != 6 {
		t.Errorf("without an operation: %s", w.Body)
	}
}

func TestAcceptsTellsATokensTimes(t *testing.T) {
	portal, clock := newPortal(t, portaltest.Options{AnyClient: true})
	cst := mint(t, portal, alice)
	for name, tc := range map[string]struct {
		age  time.Duration
		cst  string
		want string
	}{
		"live":    {idle - 1, cst, `{"accepts":true,"expiresAt":"2026-11-23T05:19:55Z","activeAt":"2026-11-22T05:19:55Z"}`},
		"expired": {idle, cst, `{"accepts":false,"expiresAt":"2026-11-23T05:19:55Z","activeAt":"2026-11-22T05:19:55Z"}`},
		"unknown": {0, "x", `{"accepts":false}`},
	} {
		t.Run(name, func(t *testing.T) {
			clock.Set(epoch.Add(tc.age))
			w := post(portal, "/_sim/accepts", "", `{"token":"`+tc.cst+`"}`)
			if got := w.Body.String(); w.Code != 200 || got != tc.want {
				t.Errorf("%d %s", w.Code, got)
			}
		})
	}
}

func TestKillOverHTTP(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
	first, second, third := mint(t, portal, alice), mint(t, portal, alice), mint(t, portal, "bob")
	object(t, post(portal, "/_sim/kill", "", `{"token":"`+first+`"}`), 200)
	if portal.Accepts(first) || !portal.Accepts(second) {
		t.Error("killing a token killed another")
	}
	object(t, post(portal, "/_sim/kill", "", `{"clientId":"`+alice+`"}`), 200)
	if portal.Accepts(second) || !portal.Accepts(third) {
		t.Error("killing a client's tokens killed another's")
	}
}

func TestClientsOverHTTP(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	object(t, post(portal, "/_sim/clients", "", `{"id":"`+alice+`"}`), 200)
	mint(t, portal, alice)
}

func TestPutBehaviorReplacesWhatItNames(t *testing.T) {
	base := portaltest.Behavior{
		UnknownClientStatus: 403, RateLimit: 9,
		Faults: map[portaltest.Operation]portaltest.Fault{
			portaltest.Mint: {Kind: portaltest.Status, Status: 500, Latency: time.Second, Times: 2},
			portaltest.All:  {Latency: time.Minute},
		},
	}
	for name, tc := range map[string]struct {
		body string
		want func(b *portaltest.Behavior)
	}{
		"nothing":    {`{}`, func(*portaltest.Behavior) {}},
		"a switch":   {`{"mintKillsOlder":true}`, func(b *portaltest.Behavior) { b.MintKillsOlder = true }},
		"a rate":     {`{"rateLimit":0,"retryAfter":"date"}`, func(b *portaltest.Behavior) { b.RateLimit, b.RetryAfter = 0, "date" }},
		"a default":  {`{"unknownClientStatus":0}`, func(b *portaltest.Behavior) { b.UnknownClientStatus = 404 }},
		"one fault":  {`{"faults":{"mint":null}}`, func(b *portaltest.Behavior) { delete(b.Faults, portaltest.Mint) }},
		"all faults": {`{"faults":null}`, func(b *portaltest.Behavior) { clear(b.Faults) }},
		"a fault whole": {`{"faults":{"mint":{"kind":"redirect","location":"http://x/","times":1}}}`, func(b *portaltest.Behavior) {
			b.Faults[portaltest.Mint] = portaltest.Fault{Kind: portaltest.Redirect, Location: "http://x/", Times: 1}
		}},
		"a fault more": {`{"faults":{"probe":{"latency":"1m30s"}}}`, func(b *portaltest.Behavior) {
			b.Faults[portaltest.Probe] = portaltest.Fault{Latency: 90 * time.Second}
		}},
		"the other switches": {`{"outlivesWindow":true,"slideOnError":true,"anyClient":true}`, func(b *portaltest.Behavior) {
			b.OutlivesWindow, b.SlideOnError, b.AnyClient = true, true, true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			portal, _ := newPortal(t, portaltest.Options{})
			portal.Set(func(b *portaltest.Behavior) { *b = base })
			want := portal.Behavior()
			tc.want(&want)
			var answer portaltest.Behavior
			w := put(portal, tc.body)
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatalf("%d %s: %v", w.Code, w.Body, err)
			}
			if diff := cmp.Diff(want, answer); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, portal.Behavior()); diff != "" {
				t.Errorf("behavior (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBehaviorCanBePutBackAsItWasGot(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
	got := send(portal, "GET", "/_sim/behavior", "", "").Body.String()
	want := `{"mintKillsOlder":false,"outlivesWindow":false,"slideOnError":false,"unknownClientStatus":404,` +
		`"anyClient":true,"rateLimit":0,"retryAfter":"","faults":{}}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("behavior (-want +got):\n%s", diff)
	}
	portal.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Status, Status: 500, Times: 1, Latency: time.Millisecond})
	post(portal, mintV1(alice), portaltest.DefaultKey, "{}")
	before := portal.Behavior()
	object(t, put(portal, send(portal, "GET", "/_sim/behavior", "", "").Body.String()), 200)
	if diff := cmp.Diff(before, portal.Behavior()); diff != "" {
		t.Errorf("behavior (-want +got):\n%s", diff)
	}
}

func TestControlNamesWhatItDoesNotUnderstand(t *testing.T) {
	for name, tc := range map[string]struct{ method, path, body, want string }{
		"a field of behavior":      {"PUT", "/_sim/behavior", `{"mintKillOlder":true}`, "mintKillOlder"},
		"a field of a fault":       {"PUT", "/_sim/behavior", `{"faults":{"mint":{"stat":500}}}`, "stat"},
		"an operation":             {"PUT", "/_sim/behavior", `{"faults":{"mnt":{"kind":"hang"}}}`, "faults.mnt"},
		"a kind":                   {"PUT", "/_sim/behavior", `{"faults":{"mint":{"kind":"hung"}}}`, "hung"},
		"a status":                 {"PUT", "/_sim/behavior", `{"faults":{"mint":{"kind":"status","status":200}}}`, "status"},
		"a latency":                {"PUT", "/_sim/behavior", `{"faults":{"mint":{"latency":"soon"}}}`, "latency"},
		"a latency without a unit": {"PUT", "/_sim/behavior", `{"faults":{"mint":{"latency":3}}}`, "latency"},
		"a switch's type":          {"PUT", "/_sim/behavior", `{"anyClient":"yes"}`, "anyClient"},
		"an unknown client":        {"PUT", "/_sim/behavior", `{"unknownClientStatus":200}`, "unknownClientStatus"},
		"a rate":                   {"PUT", "/_sim/behavior", `{"rateLimit":-1}`, "rateLimit"},
		"a form of Retry-After":    {"PUT", "/_sim/behavior", `{"retryAfter":"later"}`, "retryAfter"},
		"no JSON":                  {"PUT", "/_sim/behavior", ``, "JSON"},
		"too much JSON":            {"PUT", "/_sim/behavior", `{}{}`, "more than one"},
		"a field of accepts":       {"POST", "/_sim/accepts", `{"cst":"x"}`, "cst"},
		"a missing token":          {"POST", "/_sim/accepts", `{}`, "token"},
		"a field of kill":          {"POST", "/_sim/kill", `{"client":"x"}`, "client"},
		"nothing to kill":          {"POST", "/_sim/kill", `{}`, "clientId"},
		"too much to kill":         {"POST", "/_sim/kill", `{"token":"x","clientId":"y"}`, "exactly one"},
		"a field of clients":       {"POST", "/_sim/clients", `{"clientId":"x"}`, "clientId"},
		"a missing id":             {"POST", "/_sim/clients", `{}`, "id"},
		"an operation of arrivals": {"GET", "/_sim/arrivals?operation=mnt", ``, "mnt"},
	} {
		t.Run(name, func(t *testing.T) {
			portal, _ := newPortal(t, portaltest.Options{})
			before := portal.Behavior()
			doc := object(t, send(portal, tc.method, tc.path, "", tc.body), http.StatusBadRequest)
			if message, _ := doc["error"].(string); !strings.Contains(message, tc.want) {
				t.Errorf("error %q does not name %q", message, tc.want)
			}
			if diff := cmp.Diff(before, portal.Behavior()); diff != "" {
				t.Errorf("it changed something (-want +got):\n%s", diff)
			}
		})
	}
}

func TestControlStandsApartFromWhatItControls(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{RateLimit: 1, AnyClient: true})
	portal.Inject(portaltest.All, portaltest.Fault{Kind: portaltest.Status, Status: 500})
	for range 3 {
		object(t, send(portal, "GET", "/_sim/stats", "", ""), 200)
		object(t, post(portal, "/_sim/accepts", "", `{"token":"x"}`), 200)
		object(t, put(portal, `{}`), 200)
	}
	object(t, send(portal, "GET", "/_sim/nothing", "", ""), 404)
	if diff := cmp.Diff(portaltest.Stats{MintsByClient: map[string]int{}}, portal.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
	object(t, put(portal, `{"faults":null}`), 200)
	mint(t, portal, alice)
}
