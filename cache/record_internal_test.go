package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

var monday = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// testSeal returns a seal under the prefix p, by a key derived from the text.
func testSeal(key string) *Seal {
	seal, err := NewSeal(SealParts{Prefix: "p", Window: 7 * 24 * time.Hour, Key: session.NewSecret(key)})
	if err != nil {
		panic(err)
	}
	return seal
}

var fixed = testSeal("custodian-key")

func encodeRecord(token session.Token) []byte {
	record, err := fixed.encode(token)
	if err != nil {
		panic(err)
	}
	return record
}

func decodeRecord(client session.ClientID, record string) (session.Token, error) {
	token, _, err := fixed.decode(client, record)
	return token, err
}

func drawClient(t *rapid.T, label string) session.ClientID {
	return session.ClientID(rapid.StringMatching(`[A-Za-z0-9_-]{1,128}`).Draw(t, label))
}

func drawToken(t *rapid.T) session.Token {
	secret := session.NewSecret(string(rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "secret")))
	minted := rapid.Int64Range(1, latestDate).Draw(t, "minted")
	active := rapid.Int64Range(minted, latestDate).Draw(t, "active")
	return session.Token{
		Client: drawClient(t, "client"), ID: session.IdentifyToken(secret), Secret: secret,
		AccountAbstracted: rapid.Bool().Draw(t, "abstracted"),
		Suspect:           rapid.Bool().Draw(t, "suspect"),
		Doubt:             moment(rapid.Int64Range(0, latestDate).Draw(t, "doubt")),
		Fence:             rapid.Uint64().Draw(t, "fence"),
		MintedAt:          time.UnixMilli(minted).UTC(), ActiveAt: time.UnixMilli(active).UTC(),
	}
}

func TestEveryTokenComesBackFromItsRecord(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		token := drawToken(t)
		got, err := decodeRecord(token.Client, string(encodeRecord(token)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(token, got); diff != "" {
			t.Errorf("token (-want +got):\n%s", diff)
		}
	})
}

func TestRecordOfOneClientIsUnreadableForAnother(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		token := drawToken(t)
		other := drawClient(t, "other")
		if other == token.Client {
			t.Skip("the same client")
		}
		wantUnreadable(t, other, string(encodeRecord(token)), token.Secret)
	})
}

func TestRecordCutOrPaddedIsUnreadable(t *testing.T) {
	t.Parallel()
	token := sessiontest.NewToken("c", monday)
	record := string(encodeRecord(token))
	for length := range len(record) {
		wantUnreadable(t, "c", record[:length], token.Secret)
		wantUnreadable(t, "c", record[len(record)-length:], token.Secret)
	}
	for _, more := range []string{"\x00", " ", "A", record} {
		wantUnreadable(t, "c", record+more, token.Secret)
	}
}

func TestRecordWithoutASecretIsUnreadableThoughItsIDIsRight(t *testing.T) {
	t.Parallel()
	token := sessiontest.NewToken("c", monday)
	token.Secret = session.Secret{}
	token.ID = session.IdentifyToken(token.Secret)
	wantUnreadable(t, "c", string(encodeRecord(token)), token.Secret)
}

// What the scripts change is bounded, but not noticed where it is changed otherwise.
func TestRecordWithAByteChangedIsUnreadableOrTheSameTokenWithOtherDatesFenceOrSuspicion(t *testing.T) {
	t.Parallel()
	token := sessiontest.NewToken("c", monday)
	token.ActiveAt = monday.Add(time.Hour)
	record := encodeRecord(token)
	for at := range record {
		for change := 1; change < 256; change++ {
			changed := []byte(string(record))
			changed[at] ^= byte(change)
			switch {
			case at >= offsetMinted && at < offsetFence:
				wantOtherDates(t, token, string(changed))
			case at >= offsetFence && at < offsetDoubt:
				wantOtherFence(t, token, string(changed))
			case at >= offsetDoubt && at < offsetFlags:
				wantOtherDoubt(t, token, string(changed))
			case at == offsetFlags && change == flagSuspect:
				wantSuspect(t, token, string(changed))
			default:
				wantUnreadable(t, "c", string(changed), token.Secret)
			}
		}
	}
}

func wantOtherDates(t *testing.T, token session.Token, changed string) {
	t.Helper()
	got, err := decodeRecord(token.Client, changed)
	if err != nil {
		wantUnreadable(t, token.Client, changed, token.Secret)
		return
	}
	if got.MintedAt.UnixMilli() <= 0 || got.MintedAt.After(token.MintedAt) || got.ActiveAt.Before(got.MintedAt) || got.ActiveAt.UnixMilli() > latestDate {
		t.Errorf("dates that can't be were accepted: minted %s, active %s", got.MintedAt, got.ActiveAt)
	}
	if got.MintedAt.Equal(token.MintedAt) == got.ActiveAt.Equal(token.ActiveAt) {
		t.Errorf("one date was to change: minted %s, active %s", got.MintedAt, got.ActiveAt)
	}
	got.MintedAt, got.ActiveAt = token.MintedAt, token.ActiveAt
	if diff := cmp.Diff(token, got); diff != "" {
		t.Errorf("more than the dates changed (-want +got):\n%s", diff)
	}
}

func wantOtherFence(t *testing.T, token session.Token, changed string) {
	t.Helper()
	got, err := decodeRecord(token.Client, changed)
	if err != nil || got.Fence == token.Fence {
		t.Errorf("fence %d, %v; want another than %d", got.Fence, err, token.Fence)
	}
	got.Fence = token.Fence
	if diff := cmp.Diff(token, got); diff != "" {
		t.Errorf("more than the fence changed (-want +got):\n%s", diff)
	}
}

func wantOtherDoubt(t *testing.T, token session.Token, changed string) {
	t.Helper()
	got, err := decodeRecord(token.Client, changed)
	if err != nil {
		wantUnreadable(t, token.Client, changed, token.Secret)
		return
	}
	if got.Doubt.UnixMilli() <= 0 || got.Doubt.UnixMilli() > latestDate {
		t.Errorf("a doubt that can't be was accepted: until %s", got.Doubt)
	}
	got.Doubt = token.Doubt
	if diff := cmp.Diff(token, got); diff != "" {
		t.Errorf("more than the doubt changed (-want +got):\n%s", diff)
	}
}

func wantSuspect(t *testing.T, token session.Token, changed string) {
	t.Helper()
	token.Suspect = true
	got, err := decodeRecord(token.Client, changed)
	if diff := cmp.Diff(token, got); diff != "" || err != nil {
		t.Errorf("%v, token (-want +got):\n%s", err, diff)
	}
}

func TestMintedDateOfARecordMovesBackOnly(t *testing.T) {
	t.Parallel()
	token := sessiontest.NewToken("c", monday)
	token.ActiveAt = monday.Add(time.Hour)
	record := string(encodeRecord(token))
	dated := func(by time.Duration) string {
		minted := binary.BigEndian.AppendUint64(nil, uint64(monday.Add(by).UnixMilli()))
		return record[:offsetMinted] + string(minted) + record[offsetActive:]
	}
	for _, by := range []time.Duration{0, -time.Millisecond, -time.Hour} {
		if got, err := decodeRecord("c", dated(by)); err != nil || !got.MintedAt.Equal(monday.Add(by)) {
			t.Errorf("moved by %s: minted %s, %v", by, got.MintedAt, err)
		}
	}
	for _, by := range []time.Duration{time.Millisecond, time.Minute, time.Hour} {
		wantUnreadable(t, "c", dated(by), token.Secret)
	}
}

func TestRecordWithImpossibleDatesIsUnreadable(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli
	for name, c := range map[string]struct {
		minted, active time.Time
		readable       bool
	}{
		"minted in the first millisecond":   {minted: at(1), active: at(1), readable: true},
		"minted at the epoch":               {minted: at(0), active: at(1)},
		"minted before the epoch":           {minted: at(-1), active: at(1)},
		"active when minted":                {minted: at(5), active: at(5), readable: true},
		"active a moment before the mint":   {minted: at(5), active: at(4)},
		"active before the epoch":           {minted: at(5), active: at(-1)},
		"active at the latest date":         {minted: at(5), active: at(latestDate), readable: true},
		"active past the latest date":       {minted: at(5), active: at(latestDate + 1)},
		"both past the latest date":         {minted: at(latestDate + 1), active: at(latestDate + 1)},
		"both so late that they overflow":   {minted: at(-1 << 62), active: at(-1 << 62)},
		"both at the latest date":           {minted: at(latestDate), active: at(latestDate), readable: true},
		"the dates of the zero time.Time":   {},
		"minted now, active never":          {minted: monday},
		"minted never, active now":          {active: monday},
		"minted and active on a Monday":     {minted: monday, active: monday, readable: true},
		"minted on a Monday, active before": {minted: monday, active: monday.Add(-time.Millisecond)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := sessiontest.NewToken("c", monday)
			token.MintedAt, token.ActiveAt = c.minted, c.active
			if _, err := decodeRecord("c", string(encodeRecord(token))); errors.Is(err, session.ErrRecordUnreadable) == c.readable {
				t.Errorf("error %v, readable is to be %t", err, c.readable)
			}
		})
	}
}

type fataler interface {
	Helper()
	Errorf(format string, args ...any)
}

// wantUnreadable wants no token from the record, and no part of the secret in the error.
func wantUnreadable(t fataler, client session.ClientID, record string, secret session.Secret) {
	t.Helper()
	got, err := decodeRecord(client, record)
	if !errors.Is(err, session.ErrRecordUnreadable) || !got.IsZero() || !got.Secret.IsZero() {
		t.Errorf("decode %q for %s = %+v, %v; want ErrRecordUnreadable and no token", record, client, got, err)
	}
	const part = 4
	text, said := secret.Reveal(), fmt.Sprintf("%v %+v %#v", err, err, err)
	for i := range max(len(text)-part+1, 0) {
		if strings.Contains(said, text[i:i+part]) {
			t.Errorf("the error holds a part of the secret: %s", said)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	const client = "cm0r6nkek00ej10dwwx8wdjmf"
	token := sessiontest.NewToken(client, monday)
	record := string(encodeRecord(token))
	f.Add(client, record)
	f.Add("another", record)
	f.Add(client, record[:offsetSealed])
	f.Add(client, record[:offsetSealed+1])
	f.Add(client, record[:len(record)-1])
	f.Add(client, record+"x")
	f.Add(client, "\x01"+record[1:])
	f.Add(client, record[:offsetFlags]+"\x04"+record[offsetSealed:])
	f.Add(client, record[:offsetMinted]+strings.Repeat("\xff", 16)+record[offsetFence:])
	f.Add(client, "")
	f.Add("", strings.Repeat("\x00", offsetSealed+1))
	f.Add(client, strings.Repeat("\x01", 100))
	f.Fuzz(func(t *testing.T, client, record string) {
		token, err := decodeRecord(session.ClientID(client), record)
		if err != nil {
			if !errors.Is(err, session.ErrRecordUnreadable) || !token.IsZero() {
				t.Fatalf("token %+v, error %v; want no token and ErrRecordUnreadable", token, err)
			}
			return
		}
		again, err := decodeRecord(session.ClientID(client), string(encodeRecord(token)))
		if diff := cmp.Diff(token, again); diff != "" || err != nil {
			t.Fatalf("%v, token (-want +got):\n%s", err, diff)
		}
	})
}
