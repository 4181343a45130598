package portaltest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// admitted sends n mints and counts those that were not refused for the rate.
func admitted(portal *portaltest.Portal, n int) int {
	ok := 0
	for range n {
		if post(portal, mintV1(alice), portaltest.DefaultKey, "{}").Code != http.StatusTooManyRequests {
			ok++
		}
	}
	return ok
}

func TestRateLimitHoldsInEveryRollingMinute(t *testing.T) {
	portal, clock := newPortal(t, portaltest.Options{RateLimit: 10, AnyClient: true})
	for i, step := range []struct {
		age        time.Duration
		send, want int
	}{
		{0, 4, 4},
		{30 * time.Second, 20, 6},
		{time.Minute - 1, 5, 0},
		{time.Minute, 9, 4},
		{90*time.Second - 1, 3, 0},
		{90 * time.Second, 9, 6},
		{time.Hour, 99, 10},
	} {
		clock.Set(epoch.Add(step.age))
		if got := admitted(portal, step.send); got != step.want {
			t.Errorf("step %d, after %s: %d of %d admitted, want %d", i, step.age, got, step.send, step.want)
		}
	}
	s := portal.Stats()
	if s.Mints != 4+6+4+6+10 || s.RateLimited != s.Requests-s.Mints || s.Faulted != 0 {
		t.Errorf("stats = %+v", s)
	}
}

func TestWithoutARateLimitEverythingIsAdmitted(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
	if got := admitted(portal, 500); got != 500 {
		t.Errorf("%d of 500 admitted", got)
	}
}

func TestRateLimitIsAFamilysOwn(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{RateLimit: 2})
	portal.AddClient(alice)
	cst := mint(t, portal, alice)
	object(t, post(portal, registerV1, portaltest.DefaultKey, "{}"), 201)
	for what, w := range map[string]int{
		"mint":     post(portal, mintV3(alice), portaltest.DefaultKey, "{}").Code,
		"register": post(portal, registerV3, portaltest.DefaultKey, "{}").Code,
		"read":     send(portal, "GET", registerV3+"/"+alice, portaltest.DefaultKey, "").Code,
		"list":     list(portal, "").Code,
		"web-otp":  send(portal, "GET", registerV1+"/"+alice+"/web-otp", portaltest.DefaultKey, "").Code,
	} {
		if w != http.StatusTooManyRequests {
			t.Errorf("a third custodian request, %s, gets %d", what, w)
		}
	}
	object(t, probe(portal, cst), 200)
	object(t, post(portal, clientsMe+"/x", cst, "{}"), 200)
	object(t, probe(portal, cst), 429)
	for range 5 {
		object(t, post(portal, "/v1/sign", cst, "{}"), 200)
	}
}

func TestRateLimitCountsTheUnauthorizedToo(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{RateLimit: 1, AnyClient: true})
	object(t, post(portal, mintV1(alice), "wrong", "{}"), 401)
	if got := admitted(portal, 1); got != 0 {
		t.Error("a second request is admitted")
	}
}

func TestRetryAfterSaysWhenThereIsRoom(t *testing.T) {
	const seconds, date = portaltest.RetryAfterSeconds, portaltest.RetryAfterDate
	for name, tc := range map[string]struct {
		form portaltest.RetryAfter
		age  time.Duration
		want string
	}{
		"none":                       {portaltest.RetryAfterNone, 0, ""},
		"seconds, at once":           {seconds, 0, "60"},
		"seconds, round":             {seconds, 20 * time.Second, "40"},
		"seconds, rounded up":        {seconds, 20*time.Second + time.Millisecond, "40"},
		"seconds, in the last one":   {seconds, time.Minute - 1, "1"},
		"a date, at once":            {date, 0, "Sun, 22 Nov 2026 05:20:55 GMT"},
		"a date, in the last second": {date, time.Minute - 1, "Sun, 22 Nov 2026 05:20:55 GMT"},
	} {
		t.Run(name, func(t *testing.T) {
			portal, clock := newPortal(t, portaltest.Options{RateLimit: 1, AnyClient: true})
			portal.Set(func(b *portaltest.Behavior) { b.RetryAfter = tc.form })
			admitted(portal, 1)
			clock.Advance(tc.age)
			w := post(portal, mintV1(alice), portaltest.DefaultKey, "{}")
			if got := w.Header().Get("Retry-After"); got != tc.want {
				t.Errorf("Retry-After = %q, want %q", got, tc.want)
			}
			if doc := object(t, w, 429); doc["error"] == nil {
				t.Errorf("body %v", doc)
			}
		})
	}
}

func TestRetryAfterDateIsRoundedUp(t *testing.T) {
	portal, clock := newPortal(t, portaltest.Options{RateLimit: 1, AnyClient: true})
	portal.Set(func(b *portaltest.Behavior) { b.RetryAfter = portaltest.RetryAfterDate })
	clock.Advance(time.Millisecond)
	admitted(portal, 1)
	got := post(portal, mintV1(alice), portaltest.DefaultKey, "{}").Header().Get("Retry-After")
	if !strings.Contains(got, "05:20:56") {
		t.Errorf("Retry-After = %q", got)
	}
}

func TestLoweredRateLimitWaitsForEnoughToLeave(t *testing.T) {
	portal, clock := newPortal(t, portaltest.Options{RateLimit: 10, AnyClient: true})
	for range 4 {
		admitted(portal, 1)
		clock.Advance(10 * time.Second)
	}
	portal.Set(func(b *portaltest.Behavior) { b.RateLimit, b.RetryAfter = 2, portaltest.RetryAfterSeconds })
	w := post(portal, mintV1(alice), portaltest.DefaultKey, "{}")
	if got := w.Header().Get("Retry-After"); got != "40" { // the third, sent at 20 s, leaves at 80 s
		t.Errorf("Retry-After = %q", got)
	}
	clock.Advance(40 * time.Second)
	if got := admitted(portal, 2); got != 1 {
		t.Errorf("%d admitted", got)
	}
}
