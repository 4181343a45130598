package portal

import (
	"net/http"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

func TestRetryAfterIsReadWithinBounds(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 5, 19, 55, 0, time.UTC)
	for name, tc := range map[string]struct {
		header string
		want   time.Duration
	}{
		"no header":                        {"", 0},
		"a second":                         {"1", time.Second},
		"none":                             {"0", time.Second},
		"two":                              {"2", 2 * time.Second},
		"with zeros before it":             {"007", 7 * time.Second},
		"a moment before ten minutes":      {"599", 599 * time.Second},
		"ten minutes":                      {"600", 10 * time.Minute},
		"a moment after ten minutes":       {"601", 10 * time.Minute},
		"the largest of 32 bits":           {"4294967295", 10 * time.Minute},
		"one more than that":               {"4294967296", 10 * time.Minute},
		"more than 64 bits":                {"99999999999999999999999", 10 * time.Minute},
		"a date":                           {"Sun, 22 Nov 2026 05:21:25 GMT", 90 * time.Second},
		"now":                              {"Sun, 22 Nov 2026 05:19:55 GMT", time.Second},
		"a second from now":                {"Sun, 22 Nov 2026 05:19:56 GMT", time.Second},
		"two seconds from now":             {"Sun, 22 Nov 2026 05:19:57 GMT", 2 * time.Second},
		"ten minutes from now":             {"Sun, 22 Nov 2026 05:29:55 GMT", 10 * time.Minute},
		"ten minutes and a second":         {"Sun, 22 Nov 2026 05:29:56 GMT", 10 * time.Minute},
		"a date gone by":                   {"Sun, 22 Nov 2026 05:00:00 GMT", time.Second},
		"a date of long ago":               {"Thu, 01 Jan 1970 00:00:00 GMT", time.Second},
		"a date beyond what durations can": {"Fri, 31 Dec 9999 23:59:59 GMT", 10 * time.Minute},
		"the form of RFC 850":              {"Sunday, 22-Nov-26 05:21:25 GMT", 90 * time.Second},
		"the form of asctime":              {"Sun Nov 22 05:21:25 2026", 90 * time.Second},
		"the form of RFC 3339":             {"2026-11-22T05:21:25Z", 0},
		"a negative number":                {"-1", 0},
		"a sign":                           {"+1", 0},
		"a fraction":                       {"1.5", 0},
		"a unit":                           {"5s", 0},
		"hexadecimal":                      {"0x10", 0},
		"a space within":                   {"1 2", 0},
		"two at once":                      {"1, 2", 0},
		"a word":                           {"soon", 0},
		"digits of another script":         {"٥", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := retryAfter(tc.header, now); got != tc.want {
				t.Errorf("retryAfter(%q) = %s, want %s", tc.header, got, tc.want)
			}
		})
	}
}

func FuzzRetryAfterIsNoneOrWithinBounds(f *testing.F) {
	now := time.Date(2026, 11, 22, 5, 19, 55, 0, time.UTC)
	for _, seed := range []string{"", "0", "120", "18446744073709551616", "-1", "soon", now.Format(http.TimeFormat)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if got := retryAfter(header, now); got != 0 && (got < minRetryAfter || got > maxRetryAfter) {
			t.Errorf("retryAfter(%q) = %s", header, got)
		}
	})
}

func FuzzTokenThatIsTakenFitsAHeaderAndAPath(f *testing.F) {
	for _, seed := range []string{
		"", "null", "{}", `"text"`, `[{}]`, `{"id":"a","clientSessionToken":"b","isAccountAbstracted":true,"clientApiKey":"c"}`,
		`{"id":"a/b","clientSessionToken":"b"}`, `{"id":"a","clientSessionToken":"b\r\nc"}`, `{"ID":"a","CLIENTSESSIONTOKEN":"b"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		token, err := readToken(body)
		if err != nil {
			if token != (session.Token{}) {
				t.Errorf("%+v came with %v", token, err)
			}
			return
		}
		if _, err := session.ParseClientID(string(token.Client)); err != nil {
			t.Error(err)
		}
		secret := token.Secret.Reveal()
		if secret == "" || len(secret) > maxSecret {
			t.Errorf("a token of %d characters", len(secret))
		}
		for _, c := range []byte(secret) {
			if c <= ' ' || c >= 0x7f {
				t.Errorf("character %q in a token", c)
			}
		}
		if token.ID != session.IdentifyToken(token.Secret) || !token.MintedAt.IsZero() || !token.ActiveAt.IsZero() {
			t.Errorf("token %+v", token)
		}
	})
}
