package proxy

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

const someID = "0123456789abcdef0123456789abcdef"

func FuzzParseAsk(f *testing.F) {
	for _, client := range []string{
		"cm0r6nkek00ej10dwwx8wdjmf", "A_b-9", "", "..", "%2e%2e", "a/b", "a\x00b", "a\r\nb", "алиса", "\xff",
		strings.Repeat("a", 128), strings.Repeat("a", 129),
	} {
		f.Add(client, "")
	}
	for _, query := range []string{
		"minTtl=2h", "minTtl=7200", "minTtl=0", "minTtl=-1", "minTtl=-1h", "minTtl=9223372037", "minTtl=18446744074", "minTtl=1e3", "minTtl=", "minTtl=2h&minTtl=2h", "minTtl=4294967295",
		"minTtl=4294967296", "minTtl=9223372036854775807", "minTtl=2540400h", "minTtl=.5h", "minTtl=%2B5m", "rejected=" + someID,
		"rejected=" + strings.ToUpper(someID), "rejected=" + strings.Repeat("0", 32), "rejected=x", "minTtl=24h&rejected=" + someID,
		"MinTtl=2h", "=", "&&", "a;b", "%zz", "min%54tl=2h", "minTtl=2%68", "\x00", "minTtl=\xff",
	} {
		f.Add("cm0r6nkek00ej10dwwx8wdjmf", query)
	}
	client := regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	life := session.Lifetime{IdleTTL: 24 * time.Hour}
	f.Fuzz(func(t *testing.T, path, query string) {
		ask, err := parseAsk(path, query)
		if err != nil {
			if !errors.Is(err, session.ErrInvalidClientID) && !errors.Is(err, session.ErrInvalidRequest) {
				t.Errorf("another error: %v", err)
			}
			if ask != (session.Ask{}) {
				t.Errorf("%+v came with an error", ask)
			}
			wantPrintable(t, err)
			return
		}
		if !client.MatchString(path) || string(ask.Client) != path {
			t.Errorf("client %q of %q", ask.Client, path)
		}
		if ask.Need.Life < 0 || !ask.Need.Explicit && ask.Need.Life != 0 {
			t.Errorf("need %+v", ask.Need)
		}
		if ask.Need.Explicit != strings.Contains(query, "=") && ask.Need.Rejected.IsZero() {
			t.Errorf("need %+v of %q", ask.Need, query)
		}
		if life.Check(ask.Need) == nil && ask.Need.Life > life.IdleTTL {
			t.Errorf("need %+v is more than a token can have", ask.Need)
		}
	})
}

// wantPrintable checks that an error which callers are shown is short, and no danger to a log or a terminal.
func wantPrintable(t *testing.T, err error) {
	t.Helper()
	text := strings.ReplaceAll(err.Error(), "…", "...")
	if len(text) > 400 {
		t.Errorf("%d characters: %s", len(text), text)
	}
	for _, c := range text {
		if c < ' ' || c > '~' {
			t.Errorf("%q has %q in it", text, c)
		}
	}
}

func FuzzParseIfMatch(f *testing.F) {
	for _, header := range []string{
		"", "*", ` * `, `"` + someID + `"`, `"` + someID + `", "` + someID + `"`, `"` + someID + `",`, `W/"` + someID + `"`, `"`, `""`, `"""`, `"*"`,
		`*,*`, `"` + strings.Repeat("0", 32) + `"`, "\t\"" + someID + "\"\t", `"` + someID + `"` + "\n" + `"` + someID + `"`, "\xff",
	} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		lines := strings.Split(header, "\n")
		ids, err := parseIfMatch(lines)
		switch {
		case err != nil && !errors.Is(err, session.ErrInvalidRequest):
			t.Errorf("another error: %v", err)
		case err != nil:
			wantPrintable(t, err)
		case len(ids) == 0:
			t.Errorf("%q sets no condition: the logout would be unconditional", header)
		}
		for _, id := range ids {
			if star := len(ids) == 1 && strings.TrimSpace(header) == "*"; id.IsZero() != star {
				t.Errorf("%q matches any token", header)
			}
			if !id.IsZero() && !strings.Contains(header, `"`+id.String()+`"`) {
				t.Errorf("%s is not in %q", id, header)
			}
		}
		if err != nil && ids != nil {
			t.Errorf("%v came with %v", ids, err)
		}
	})
}

func TestNoHeaderIsNoCondition(t *testing.T) {
	t.Parallel()
	if ids, err := parseIfMatch(nil); len(ids) != 0 || err != nil {
		t.Errorf("%v, %v", ids, err)
	}
}

func TestShownIsShort(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"as it is":                       {"2x", `"2x"`},
		"quoted where it is no text":     {"a\n\"b\x1b", `"a\n\"b\x1b"`},
		"all of what just fits":          {strings.Repeat("x", 12), `"` + strings.Repeat("x", 12) + `"`},
		"nothing of what may be a token": {strings.Repeat("x", 13), "a text of 13 characters"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := shown(c.text); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
