package proxy_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// blind hides what Portal draws at random.
func (a answer) blind(d document) string {
	return strings.NewReplacer(d.ClientSessionToken, "<token>", d.TokenID, "<token id>", d.ID, "<client id>").Replace(a.dump())
}

// kept lets alice's token, fetched now, get as old as age, never unused for long.
func (w *world) kept(age time.Duration) document {
	w.t.Helper()
	const step = 20 * hour
	d := w.fetch()
	for ; age > day; age -= step {
		w.clock.advance(step)
		w.use(d)
		w.post(aliceActivity, "").want(w.t, http.StatusNoContent)
	}
	w.clock.advance(age)
	return d
}

// use lets the client use its token at Portal, where the proxy does not see it.
func (w *world) use(d document) {
	w.t.Helper()
	request := httptest.NewRequest(http.MethodGet, "/api/v3/clients/me", http.NoBody)
	request.Header.Set("Authorization", "Bearer "+d.ClientSessionToken)
	recorder := httptest.NewRecorder()
	w.sim.ServeHTTP(recorder, request)
	if recorder.Code != http.StatusOK {
		w.t.Fatalf("Portal refuses the token: %d", recorder.Code)
	}
}

func TestTokenAsCallersSeeIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		age   time.Duration // of a token that is there already; 0 for none
		query string
	}{
		"token_mint":    {0, ""},
		"token_cache":   {90*time.Minute + 250*time.Millisecond, ""},
		"token_refresh": {10 * hour, "?minTtl=20h"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if c.age > 0 {
				w.kept(c.age)
			}
			a := w.get(aliceToken+c.query, testID)
			golden(t, name, a.blind(a.token(t, http.StatusOK)))
		})
	}
}

func TestTokenIDIsWhatTheCallerComputes(t *testing.T) {
	t.Parallel()
	d := newWorld(t).fetch()
	sum := sha256.Sum256([]byte(d.ClientSessionToken))
	if want := hex.EncodeToString(sum[:16]); d.TokenID != want {
		t.Errorf("tokenId is %s, want %s", d.TokenID, want)
	}
}

func TestTimesAreUTCWhereverTheProxyRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *setup) {
		now := s.Now
		s.Now = func() time.Time { return now().In(time.FixedZone("far", 9*60*60)) }
	})
	a := w.get(aliceToken)
	d := a.token(t, http.StatusOK)
	if !strings.Contains(a.body, `"mintedAt":"2026-11-22T05:19:55Z"`) || !d.MintedAt.Equal(epoch()) {
		t.Errorf("mintedAt is not UTC: %s", a.body)
	}
}

func TestSecondsLeftAreRoundedDown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		age  time.Duration
		want int64
	}{
		"at the mint":                  {0, 86400},
		"a moment later":               {time.Millisecond, 86399},
		"a moment before a second":     {time.Second - time.Millisecond, 86399},
		"a second later":               {time.Second, 86399},
		"a moment after that":          {time.Second + time.Millisecond, 86398},
		"when the least life is left":  {day - 5*time.Minute, 300},
		"when a moment more than that": {day - 5*time.Minute - time.Millisecond, 300},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.fetch()
			w.clock.advance(c.age)
			if d := w.fetch(); d.ExpiresIn != c.want || d.Source != "cache" {
				t.Errorf("expiresIn is %d from %s, want %d from cache", d.ExpiresIn, d.Source, c.want)
			}
		})
	}
}

func TestFetchOfATokenOfSomeAge(t *testing.T) {
	t.Parallel()
	const moment = time.Millisecond
	for name, c := range map[string]struct {
		age    time.Duration
		source string
		status string
		mints  int
	}{
		"new":                                 {0, "cache", "cstproxy; hit; ttl=86400", 1},
		"half its idle time":                  {12 * hour, "cache", "cstproxy; hit; ttl=43200", 1},
		"with the least life":                 {day - 5*time.Minute, "cache", "cstproxy; hit; ttl=300", 1},
		"a moment short of the least life":    {day - 5*time.Minute + moment, "refresh", "cstproxy; fwd=stale", 1},
		"a moment before the margin":          {day - time.Minute - moment, "refresh", "cstproxy; fwd=stale", 1},
		"at the margin":                       {day - time.Minute, "mint", "cstproxy; fwd=stale", 2},
		"a moment before its end":             {day - moment, "mint", "cstproxy; fwd=stale", 2},
		"at its end":                          {day, "mint", "cstproxy; fwd=stale", 2},
		"with the least life in its window":   {7*day - 5*time.Minute, "cache", "cstproxy; hit; ttl=300", 1},
		"a moment short of that":              {7*day - 5*time.Minute + moment, "mint", "cstproxy; fwd=stale", 2},
		"at the end of the window":            {7 * day, "mint", "cstproxy; fwd=stale", 2},
		"in use, with a day left in its week": {6*day + hour, "cache", "cstproxy; hit; ttl=68400", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.kept(c.age)
			a := w.get(aliceToken)
			d := a.token(t, http.StatusOK)
			if d.Source != c.source || a.header.Get("Cache-Status") != c.status {
				t.Errorf("from %s with Cache-Status %q, want %s with %q", d.Source, a.header.Get("Cache-Status"), c.source, c.status)
			}
			if d.ExpiresAt.Sub(w.clock.now()) <= time.Minute {
				t.Errorf("handed out with less than the margin left: %s", a.body)
			}
			w.wantMints(c.mints)
		})
	}
}

func TestFetchInTheSecondHalfRefreshesBehindIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.fetch()
	w.clock.advance(13 * hour)
	if d := w.fetch(); d.Source != "cache" || !d.ActiveAt.Equal(first.ActiveAt) {
		t.Errorf("from %s, active at %s; want the token as it was", d.Source, d.ActiveAt)
	}
	w.broker.Close(t.Context()) // waits for what is under way
	d := w.fetch()
	if want := epoch().Add(13 * hour); d.TokenID != first.TokenID || !d.ActiveAt.Equal(want) {
		t.Errorf("%s active at %s, want %s at %s", d.TokenID, d.ActiveAt, first.TokenID, want)
	}
	if n := w.sim.Stats().Probes; n != 1 {
		t.Errorf("%d probes, want 1", n)
	}
	w.wantMints(1)
}

func TestLeastLifeAskedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		age    time.Duration
		minTTL string
		source string // "" for a refusal
	}{
		"that is there":                             {10 * hour, "2h", "cache"},
		"in seconds":                                {10 * hour, "7200", "cache"},
		"in more than one unit":                     {10 * hour, "1h30m", "cache"},
		"of nothing":                                {10 * hour, "0", "cache"},
		"exactly what is left":                      {10 * hour, "14h", "cache"},
		"exactly what is left, in seconds":          {10 * hour, "50400", "cache"},
		"a moment more than is left":                {10 * hour, "14h0m0.001s", "refresh"},
		"a second more than is left":                {10 * hour, "50401", "refresh"},
		"all that a token can have, of an old one":  {10 * hour, "24h", "refresh"},
		"all that a token can have, of a new one":   {0, "24h", "cache"},
		"all that a token can have, in seconds":     {0, "86400", "cache"},
		"more than the window has left":             {160 * hour, "8h0m1s", "mint"},
		"all that the window has left":              {160 * hour, "8h", "refresh"},
		"all that the window has left, and it has":  {165 * hour, "3h", "cache"},
		"a second more than the window has left":    {165 * hour, "10801", "mint"},
		"less than the proxy's own least":           {day - 3*time.Minute, "2m", "cache"},
		"a moment more than a token can have":       {0, "24h0m0.000000001s", ""},
		"a second more than a token can have":       {0, "86401", ""},
		"a negative one":                            {0, "-1h", ""},
		"negative seconds":                          {0, "-1", ""},
		"a word":                                    {0, "soon", ""},
		"an empty one":                              {0, "", ""},
		"a number without a unit, and not whole":    {0, "1.5", ""},
		"scientific notation":                       {0, "1e3", ""},
		"a unit that Go does not know":              {0, "1d", ""},
		"a space before it":                         {0, "+5m", ""},
		"seconds that overflow a duration":          {0, "9223372037", ""},
		"seconds that overflow to a good duration":  {0, "18446744074", ""},
		"seconds that overflow everything":          {0, "99999999999999999999999", ""},
		"a duration that overflows":                 {0, "2562048h", ""},
		"one that is given twice":                   {0, "1h&minTtl=1h", ""},
		"one that is given twice, empty the second": {0, "1h&minTtl=", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			first := w.kept(c.age)
			before := w.sim.Stats().Requests
			a := w.get(aliceToken + "?minTtl=" + c.minTTL)
			if c.source == "" {
				a.wantProblem(t, "invalid_request")
				if n := w.sim.Stats().Requests; n != before {
					t.Errorf("%d requests to Portal for a request that is refused", n-before)
				}
				return
			}
			d := a.token(t, http.StatusOK)
			if d.Source != c.source {
				t.Errorf("from %s, want %s", d.Source, c.source)
			}
			if same := d.TokenID == first.TokenID; same != (c.source != "mint") {
				t.Errorf("the first token: %v, want the opposite", same)
			}
		})
	}
}

func TestLifeAskedForThatCannotBeHadIsAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fetch()
	w.clock.advance(10 * hour)
	w.sim.Inject(portaltest.All, portaltest.Fault{Kind: portaltest.Status, Status: http.StatusBadGateway})
	w.get(aliceToken+"?minTtl=20h").wantProblem(t, "portal_unavailable")
	if d := w.fetch(); d.Source != "cache" {
		t.Errorf("without a wish served from %s, want cache", d.Source)
	}
}

func TestRejectedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.fetch()
	a := w.get(aliceToken + "?rejected=" + old.TokenID)
	d := a.token(t, http.StatusOK)
	if d.TokenID == old.TokenID || d.Source != "mint" || a.header.Get("Cache-Status") != "cstproxy; fwd=stale" {
		t.Errorf("%s after %s from %s with Cache-Status %q", d.TokenID, old.TokenID, d.Source, a.header.Get("Cache-Status"))
	}
	again := w.get(aliceToken+"?rejected="+old.TokenID).token(t, http.StatusOK)
	if again.TokenID != d.TokenID || again.Source != "cache" {
		t.Errorf("reported again: %s from %s, want %s from cache", again.TokenID, again.Source, d.TokenID)
	}
	if next := w.fetch(); next.TokenID != d.TokenID {
		t.Errorf("fetched %s afterwards, want %s", next.TokenID, d.TokenID)
	}
	w.wantMints(2)
}

func TestRejectedTokenIsGoneEvenIfPortalFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.fetch()
	w.sim.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Status, Status: http.StatusBadGateway})
	w.get(aliceToken+"?rejected="+old.TokenID).wantProblem(t, "portal_unavailable")
	w.sim.ClearFaults()
	if d := w.fetch(); d.TokenID == old.TokenID {
		t.Error("the rejected token was handed out once more")
	}
}

func TestRejectedIsMalformed(t *testing.T) {
	t.Parallel()
	for name, id := range map[string]string{
		"empty":             "",
		"too short":         otherID[1:],
		"too long":          otherID + "0",
		"in upper case":     strings.ToUpper(otherID),
		"not hexadecimal":   otherID[1:] + "g",
		"the zero id":       strings.Repeat("0", 32),
		"given twice":       otherID + "&rejected=" + otherID,
		"the token, not id": "eyJhbGciOiJIUzI1NiJ9.e30.ZRrHA1JJJW8opsbCGfG",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := w.get(aliceToken + "?rejected=" + id)
			a.wantProblem(t, "invalid_request")
			if id != "" && strings.Contains(a.body, "eyJ") {
				t.Errorf("the answer repeats it: %s", a.body)
			}
			w.wantUntouched()
		})
	}
}

func TestWishesTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.fetch()
	w.clock.advance(hour)
	if d := w.get(aliceToken+"?minTtl=24h&rejected="+old.TokenID).token(t, http.StatusOK); d.Source != "mint" || d.ExpiresIn != 86400 {
		t.Errorf("from %s with %d s", d.Source, d.ExpiresIn)
	}
	w.wantMints(2)
}

func TestQueryThatIsNotKnown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ query, detail string }{
		"a parameter spelt wrong":    {"minTTL=2h", `the request is not valid: query parameter "minTTL" is not known, want minTtl or rejected`},
		"a parameter without a name": {"=2h", `the request is not valid: query parameter "" is not known, want minTtl or rejected`},
		"one beside a good one":      {"minTtl=2h&force=1", `the request is not valid: query parameter "force" is not known, want minTtl or rejected`},
		"two, named in their order":  {"b=1&a=1", `the request is not valid: query parameter "a" is not known, want minTtl or rejected`},
		"a long one, not shown":      {strings.Repeat("x", 3000), `the request is not valid: query parameter a text of 3000 characters is not known, want minTtl or rejected`},
		"one that would break a log": {"a%0Ab%1B%5B31m", `the request is not valid: query parameter "a\nb\x1b[31m" is not known, want minTtl or rejected`},
		"a broken escape":            {"minTtl=%zz", "the request is not valid: the query can't be parsed"},
		"a semicolon":                {"minTtl=2h;rejected=x", "the request is not valid: the query can't be parsed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, target := range []string{aliceToken, v1Session, v3Session} {
				method := http.MethodPost
				if target == aliceToken {
					method = http.MethodGet
				}
				if p := w.do(method, target+"?"+c.query, "").wantProblem(t, "invalid_request"); p.Detail != c.detail {
					t.Errorf("detail is %q, want %q", p.Detail, c.detail)
				}
			}
			w.wantUntouched()
		})
	}
}

const (
	v1Clients = "/api/v1/custodians/clients"
	v3Clients = "/api/v3/custodians/me/clients"
	v1Session = v1Clients + "/" + alice + "/session"
	v3Session = v3Clients + "/" + alice + "/sessions"
)

func TestPortalsOwnSessionPathsAnswerLikeAFetch(t *testing.T) {
	t.Parallel()
	for name, paths := range map[string]portal.Paths{"in front of v1": portal.V1, "in front of v3": portal.V3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(s *setup) { s.paths = paths })
			if d := w.post(v1Session, "{}").token(t, http.StatusOK); d.Source != "mint" {
				t.Errorf("first from %s, want mint", d.Source)
			}
			w.clock.advance(recently)
			want := w.get(aliceToken+"?minTtl=2h", testID)
			for _, target := range []string{v1Session, v3Session} {
				got := w.post(target+"?minTtl=2h", "{}", testID)
				if diff := cmp.Diff(want.dump(), got.dump()); diff != "" {
					t.Errorf("%s (-GET +POST):\n%s", target, diff)
				}
			}
			w.wantMints(1)
		})
	}
}

func TestAccountAbstractionIsPortalsToSay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.post("/v1/clients", `{"isAccountAbstracted":true}`).token(t, http.StatusCreated)
	target := "/v1/clients/" + made.ID + "/token"
	if d := w.get(target).token(t, http.StatusOK); !d.IsAccountAbstracted || d.Source != "cache" {
		t.Errorf("cached: %+v", d)
	}
	if d := w.get(target+"?rejected="+made.TokenID).token(t, http.StatusOK); !d.IsAccountAbstracted || d.Source != "mint" {
		t.Errorf("minted: %+v", d)
	}
}

func TestRequestIDIsTheCallersIfItIsFit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		id  string
		fit bool
	}{
		"a UUID":                   {"6ba7b810-9dad-11d1-80b4-00c04fd430c8", true},
		"a ULID":                   {"01ARZ3NDEKTSV4RRFFQ69G5FAV", true},
		"with the marks allowed":   {"a-b_c.d:1", true},
		"as long as allowed":       {strings.Repeat("a", 128), true},
		"one character more":       {strings.Repeat("a", 129), false},
		"empty":                    {"", false},
		"with a space":             {"a b", false},
		"with markup":              {"<script>", false},
		"with a quote":             {`a"b`, false},
		"with what is not English": {"zażółć", false},
		"with a percent sign":      {"%0a", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for what, a := range map[string]answer{
				"a token":    w.get(aliceToken, "X-Request-Id: "+c.id),
				"an error":   w.get(aliceToken+"?x", "X-Request-Id: "+c.id),
				"no route":   w.get("/nowhere", "X-Request-Id: "+c.id),
				"no content": w.post(aliceActivity, "", "X-Request-Id: "+c.id),
			} {
				id := a.header.Get("X-Request-Id")
				if same := id == c.id; same != c.fit {
					t.Errorf("%s: X-Request-Id is %q", what, id)
				}
				if a.status >= 400 && a.problem(t).RequestID != id {
					t.Errorf("%s: requestId is %q, X-Request-Id %q", what, a.problem(t).RequestID, id)
				}
			}
		})
	}
}

func TestEveryRequestWithoutAnIDGetsItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.get("/nowhere").header.Get("X-Request-Id"), w.get("/nowhere").header.Get("X-Request-Id")
	if first == second {
		t.Errorf("both have %q", first)
	}
}

func TestFetchesAreCountedBySource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fetch()
	w.clock.advance(recently)
	w.fetch()
	w.get(aliceToken+"?minTtl=24h").token(t, http.StatusOK)
	w.get(aliceToken + "?minTtl=25h")
	w.close()
	var sources []session.Source
	for _, grant := range w.meter.granted {
		sources = append(sources, grant.Source)
	}
	if diff := cmp.Diff([]session.Source{session.SourceMint, session.SourceCache, session.SourceRefresh}, sources); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]time.Duration{day, day - recently, day}, w.meter.left); diff != "" {
		t.Errorf("life left (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"invalid_request"}, w.meter.refused); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
}
