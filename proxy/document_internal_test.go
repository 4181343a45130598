package proxy

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// What is written by hand is what encoding/json writes, whatever Portal's token looks like.
func FuzzTokenDocumentIsWhatJSONMakesOfIt(f *testing.F) {
	for _, secret := range []string{"", "dp7JMYO8-c9TqphXecs6bB3T6t4", `"\`, "<&>", "a\u2028b", "\x00\x1f\x7f\xff", "ünïcode", " ~"} {
		f.Add(secret, int64(1_779_000_000_123), int64(86399))
	}
	f.Fuzz(func(t *testing.T, secret string, ms, seconds int64) {
		at := time.UnixMilli(ms % (1 << 46)).UTC()
		if at.Year() < 0 || at.Year() > 9999 {
			t.Skip("encoding/json has no text for such a date")
		}
		document := tokenDocument{
			ID: "alice", ClientSessionToken: secret, IsAccountAbstracted: ms%2 == 0, ExpiresAt: at, ExpiresIn: seconds,
			RefreshableUntil: at.Add(time.Duration(ms % 1000)), MintedAt: at.Truncate(100 * time.Millisecond), ActiveAt: at.Local(),
			TokenID: session.IdentifyToken(session.NewSecret(secret)), Source: session.SourceCache,
		}
		want, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(document.appendTo(nil))); diff != "" {
			t.Errorf("(-encoding/json +by hand)\n%s", diff)
		}
	})
}
