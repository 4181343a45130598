package session_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// What may be an id, and all that may be said of what is not: none of the text itself.
var (
	clientID        = regexp.MustCompile(`\A[A-Za-z0-9_-]{1,128}\z`)
	notAClientID    = regexp.MustCompile(`\A` + session.ErrInvalidClientID.Error() + `: (got \d+ characters, want 1 to 128|character \d+ is none of A-Z, a-z, 0-9, _ and -)\z`)
	tokenID         = regexp.MustCompile(`\A[0-9a-f]{32}\z`)
	notATokenID     = regexp.MustCompile(`\A` + session.ErrInvalidRequest.Error() + `: a token id has 32 lower-case hex digits(, got \d+ characters)?(, not all of them 0)?\z`)
	noTokenID       = strings.Repeat("0", 32)
	foreignClientID = map[string]string{
		"nothing": "", "a dot": ".", "the parent directory": "..", "a path": "../../v3/custodians/me", "a slash": "a/b", "a backslash": `a\b`,
		"an escaped slash": "a%2fb", "an escaped dot": "%2e%2e", "a NUL": "a\x00b", "a CR": "a\rb", "an LF at the end": "a\n", "an LF at the start": "\na",
		"CR LF": "a\r\nX-Injected: 1", "a blank": "a b", "a tab": "a\tb", "a query": "a?b=c", "a fragment": "a#b", "a hash tag": "a{b}", "a colon": "a:b",
		"a quote": `a"b`, "an umlaut": "ä", "a lookalike": "сm0", "full width": "ａ", "an emoji": "🙂", "a combining mark": "e\u0301", "right to left": "\u202eabc",
		"a zero-width space": "a\u200bb", "no UTF-8": "a\xffb", "DEL": "a\x7fb", "129 characters": strings.Repeat("a", 129), "5,000 characters": strings.Repeat("a", 5000),
		"5,000 foreign characters": strings.Repeat("é", 5000), "the neighbors of A and Z": "@[", "the neighbors of a and z": "`{", "the neighbors of 0 and 9": "/:",
	}
)

func checkClientID(t *testing.T, text string) {
	t.Helper()
	id, err := session.ParseClientID(text)
	switch {
	case clientID.MatchString(text) && (err != nil || string(id) != text):
		t.Errorf("%q: %q, %v", text, id, err)
	case !clientID.MatchString(text) && (id != "" || !errors.Is(err, session.ErrInvalidClientID)):
		t.Errorf("%q is taken for %q, %v", text, id, err)
	case err != nil && !notAClientID.MatchString(err.Error()):
		t.Errorf("the error may show what was refused: %v", err)
	}
}

func TestClientIDIsWhatPortalMayHaveMade(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a cuid": string(alice), "one character": "a", "128 characters": strings.Repeat("Z", 128), "a uuid": "2b7e1516-28ae-42f7-9a3c-1d0c0f4e5a6b",
		"all there are": "ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz-0123456789", "a dash alone": "-",
	} {
		if id, err := session.ParseClientID(text); err != nil || string(id) != text {
			t.Errorf("%s: %q, %v", name, id, err)
		}
	}
	for name, text := range foreignClientID {
		if id, err := session.ParseClientID(text); !errors.Is(err, session.ErrInvalidClientID) || id != "" {
			t.Errorf("%s is taken for %q, %v", name, id, err)
		}
		checkClientID(t, text)
	}
}

func FuzzParseClientID(f *testing.F) {
	for _, text := range foreignClientID {
		f.Add(text)
	}
	f.Add(string(alice))
	f.Fuzz(checkClientID)
}

func checkTokenID(t *testing.T, text string) {
	t.Helper()
	id, err := session.ParseTokenID(text)
	good := tokenID.MatchString(text) && text != noTokenID
	switch {
	case good && (err != nil || id.String() != text || id.IsZero()):
		t.Errorf("%q: %s, %v", text, id, err)
	case !good && (!id.IsZero() || !errors.Is(err, session.ErrInvalidRequest)):
		t.Errorf("%q is taken for %s, %v", text, id, err)
	case err != nil && !notATokenID.MatchString(err.Error()):
		t.Errorf("the error may show what was refused: %v", err)
	}
}

func TestTokenIDIsTheStartOfTheTokensHash(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte(secretText))
	want := hex.EncodeToString(sum[:16])
	id := session.IdentifyToken(session.NewSecret(secretText))
	if id.String() != want {
		t.Errorf("id = %s, want %s", id, want)
	}
	if parsed, err := session.ParseTokenID(want); err != nil || parsed != id {
		t.Errorf("parsed %s, %v", parsed, err)
	}
}

// foreignTokenIDs are texts that name no token.
var foreignTokenIDs = []string{
	"", "0", strings.Repeat("a", 31), strings.Repeat("a", 33), strings.Repeat("A", 32), strings.Repeat("a", 31) + "F", strings.Repeat("g", 32),
	strings.Repeat("a", 31) + "\n", " " + strings.Repeat("a", 31), "0x" + strings.Repeat("a", 30), strings.Repeat("é", 16), strings.Repeat("a", 5000),
	`"` + strings.Repeat("a", 30) + `"`, strings.Repeat("\x00", 32), strings.Repeat("%2", 16),
}

func TestTokenIDHasOneSpelling(t *testing.T) {
	t.Parallel()
	for _, text := range foreignTokenIDs {
		if id, err := session.ParseTokenID(text); !errors.Is(err, session.ErrInvalidRequest) || !id.IsZero() {
			t.Errorf("%q is taken for %s, %v", text, id, err)
		}
		checkTokenID(t, text)
	}
}

// Elsewhere the zero id stands for whichever token is cached: who names one must not get that.
func TestNobodyNamesTheZeroTokenID(t *testing.T) {
	t.Parallel()
	if _, err := session.ParseTokenID(noTokenID); !errors.Is(err, session.ErrInvalidRequest) {
		t.Errorf("err = %v", err)
	}
	if !(session.TokenID{}).IsZero() || (session.TokenID{}).String() != noTokenID {
		t.Errorf("the zero id is %s", session.TokenID{})
	}
}

func FuzzParseTokenID(f *testing.F) {
	for _, text := range foreignTokenIDs {
		f.Add(text)
	}
	f.Add(noTokenID)
	f.Add(session.IdentifyToken(session.NewSecret(secretText)).String())
	f.Fuzz(checkTokenID)
}
