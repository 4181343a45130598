package session_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

const secretText = "cst-DO-NOT-SHOW-7f3a91"

// holds is a value around a secret, of each kind that Go knows.
type (
	outer struct {
		Shown  session.Secret
		hidden session.Secret
		deep   inner
	}
	inner struct {
		list  []session.Secret
		named map[string]session.Secret
		where *session.Secret
		what  any
	}
	inside    struct{ session.Secret }
	wordy     struct{ secret session.Secret }
	keyedBy   map[session.Secret]int
	listed    [2]session.Secret
	Exported  struct{ Secret session.Secret }
	Attribute struct {
		Secret session.Secret `xml:",attr"`
	}
)

func (w wordy) Error() string { return fmt.Sprint("refused: ", w.secret) }

var shown = template.Must(template.New("shown").Parse(`<a title="{{.}}" onclick="f({{.}})">{{printf "%v %q" . .}}</a>`))

// holders returns the secret within everything that may be printed by accident.
func holders() map[string]any {
	secret := session.NewSecret(secretText)
	in := inner{list: []session.Secret{secret}, named: map[string]session.Secret{"a": secret}, where: &secret, what: secret}
	token := session.Token{Client: "c", ID: session.IdentifyToken(secret), Secret: secret}
	return map[string]any{
		"itself": secret, "a pointer": &secret, "a slice": []session.Secret{secret}, "an array": listed{secret},
		"a slice of pointers": []*session.Secret{&secret}, "a map": map[string]session.Secret{"a": secret}, "a key": keyedBy{secret: 1},
		"a map of anything": map[string]any{"a": in}, "a struct": outer{secret, secret, in}, "a pointer to one": &outer{secret, secret, in},
		"embedded": inside{secret}, "a pointer to embedded": &inside{secret}, "an interface": []any{secret, in, &in},
		"an error": wordy{secret}, "a wrapped error": fmt.Errorf("mint: %w", wordy{secret}),
		"joined errors": errors.Join(wordy{secret}, errors.ErrUnsupported),
		"a token":       token, "a pointer to a token": &token, "a grant": session.Grant{Token: token}, "a status": session.Status{Token: token},
	}
}

// wantHidden checks that text holds the secret in no spelling that a verb could give it.
func wantHidden(t *testing.T, how, text string) {
	t.Helper()
	digits := hex.EncodeToString([]byte(secretText))
	spaced := strings.Trim(fmt.Sprintf("%d", []byte(secretText)), "[]")
	for _, spelling := range []string{
		secretText, secretText[4:], digits, strings.ToUpper(digits), fmt.Sprintf("% x", secretText), fmt.Sprintf("%# x", secretText),
		spaced, strings.ReplaceAll(spaced, " ", ", "), fmt.Sprintf("%U", []rune(secretText)),
		base64.StdEncoding.EncodeToString([]byte(secretText)),
	} {
		if strings.Contains(text, spelling) {
			t.Errorf("%s shows the secret: %s", how, text)
			return
		}
	}
}

func TestSecretIsHiddenFromEveryVerb(t *testing.T) {
	t.Parallel()
	for name, holder := range holders() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, verb := range "vTsqxXdobcUeEfFgGtpwz!" {
				for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "# ", "60", ".3", "-60.50", "[1]"} {
					format := "%" + flags + string(verb)
					wantHidden(t, format, fmt.Sprintf(format, holder))
					wantHidden(t, "an error of "+format, fmt.Errorf(format, holder).Error())
				}
			}
			wantHidden(t, "Sprint", fmt.Sprint(holder))
			wantHidden(t, "Sprintln", fmt.Sprintln("is", holder))
			for _, format := range []string{"no verb", "%*d", "%.*f", "%[2]v", "%[1]*v", "%"} {
				wantHidden(t, format, fmt.Sprintf(format, holder, holder))
			}
		})
	}
}

func TestSecretPrintsAsRedacted(t *testing.T) {
	t.Parallel()
	secret := session.NewSecret(secretText)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t", "%60s"} {
		for name, arg := range map[string]any{"itself": secret, "a pointer": &secret, "the zero one": session.Secret{}} {
			if text := fmt.Sprintf(format, arg); text != "[redacted]" {
				t.Errorf("%s of %s prints %q", format, name, text)
			}
		}
	}
	if text := secret.String(); text != "[redacted]" {
		t.Errorf("String is %q", text)
	}
	if text := fmt.Sprintf("%+v", Exported{secret}); text != "{Secret:[redacted]}" {
		t.Errorf("in a struct: %q", text)
	}
}

func TestSecretIsHiddenFromLogs(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler {
			return slog.NewTextHandler(b, &slog.HandlerOptions{AddSource: true})
		},
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for holderName, holder := range holders() {
				var out bytes.Buffer
				log := slog.New(handler(&out)).With("with", holder).WithGroup("group")
				log.InfoContext(t.Context(), "shown", "plain", holder, slog.Group("deeper", "nested", holder), "list", []any{holder})
				wantHidden(t, holderName, out.String())
				if !strings.Contains(out.String(), "shown") {
					t.Errorf("nothing logged: %s", out.String())
				}
			}
		})
	}
}

func TestSecretIsHiddenFromEncoders(t *testing.T) {
	t.Parallel()
	for name, encode := range map[string]func(any) ([]byte, error){
		"json": json.Marshal,
		"xml":  xml.Marshal,
		"gob": func(v any) ([]byte, error) {
			var out bytes.Buffer
			err := gob.NewEncoder(&out).Encode(v)
			return out.Bytes(), err
		},
		"template": func(v any) ([]byte, error) {
			var out bytes.Buffer
			err := shown.Execute(&out, v)
			return out.Bytes(), err
		},
		"go-cmp": func(v any) ([]byte, error) { return []byte(cmp.Diff(nil, v)), nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for holderName, holder := range holders() {
				out, err := encode(holder)
				wantHidden(t, holderName, string(out))
				wantHidden(t, "the error for "+holderName, fmt.Sprint(err))
			}
		})
	}
}

func TestSecretEncodesAsRedacted(t *testing.T) {
	t.Parallel()
	secret := session.NewSecret(secretText)
	for name, c := range map[string]struct {
		encode func(any) ([]byte, error)
		value  any
		want   string
	}{
		"json":               {json.Marshal, secret, `"[redacted]"`},
		"json pointer":       {json.Marshal, &secret, `"[redacted]"`},
		"json in a struct":   {json.Marshal, Exported{secret}, `{"Secret":"[redacted]"}`},
		"json map value":     {json.Marshal, map[string]session.Secret{"a": secret}, `{"a":"[redacted]"}`},
		"json of a zero one": {json.Marshal, session.Secret{}, `"[redacted]"`},
		"xml":                {xml.Marshal, secret, `<Secret>[redacted]</Secret>`},
		"xml in a struct":    {xml.Marshal, Exported{secret}, `<Exported><Secret>[redacted]</Secret></Exported>`},
		"xml attribute":      {xml.Marshal, Attribute{secret}, `<Attribute Secret="[redacted]"></Attribute>`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out, err := c.encode(c.value); err != nil || string(out) != c.want {
				t.Errorf("encoded %s, %v; want %s", out, err, c.want)
			}
		})
	}
}

func TestSecretRevealsItsTextOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	secret := session.NewSecret(secretText)
	if secret.Reveal() != secretText || secret.IsZero() {
		t.Errorf("reveals %q", secret.Reveal())
	}
	for name, zero := range map[string]session.Secret{"the zero Secret": {}, "one of no text": session.NewSecret("")} {
		if zero != (session.Secret{}) || !zero.IsZero() || zero.Reveal() != "" {
			t.Errorf("%s reveals %q", name, zero.Reveal())
		}
	}
}

func TestSecretsAreEqualByTheirTexts(t *testing.T) {
	t.Parallel()
	texts := []string{"", "a", "b", "ab", secretText, secretText + "x", strings.Repeat("a", 5000)}
	for _, one := range texts {
		for _, other := range texts {
			if got := session.NewSecret(one).Equal(session.NewSecret(strings.Clone(other))); got != (one == other) {
				t.Errorf("%q equal to %q: %t", one, other, got)
			}
		}
	}
}

func TestLogOfAWholeStoryHidesTheTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, failing(unwilling{slide: sessiontest.ErrStoreDown}))
		tokens := []session.Token{w.aged(short)}
		tokens = append(tokens, w.fetch(session.Need{}).Token)
		w.portal.Kill(tokens[0].ID)
		tokens = append(tokens, w.fetch(session.Need{}).Token, w.register(w.Broker, keyed("key")).Token)
		w.store.Break(fmt.Errorf("%v", tokens))
		tokens = append(tokens, w.fetch(session.Need{}).Token)
		for _, token := range tokens {
			if strings.Contains(w.log.String(), token.Secret.Reveal()) {
				t.Errorf("the log shows a token:\n%s", w.log.String())
			}
		}
		for _, said := range []string{"minted", "token rejected", "registered", "activity not stored", "store failed"} {
			if !strings.Contains(w.log.String(), said) {
				t.Errorf("not logged: %s", said)
			}
		}
	})
}
