package cache

import (
	"bytes"
	"crypto/rand"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

const week = 7 * 24 * time.Hour

func ensure(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keysetSeal returns a seal with a keyset.
func keysetSeal(t *testing.T, content []byte) *Seal {
	t.Helper()
	seal, err := NewSeal(SealParts{Prefix: "p", Window: week, Key: session.NewSecret("custodian-key"), Keyset: content})
	ensure(t, err)
	return seal
}

// step takes a step of a rotation.
func step(t *testing.T, edit func([]byte) ([]byte, error), content []byte) []byte {
	t.Helper()
	changed, err := edit(content)
	ensure(t, err)
	return changed
}

func newKeyset(t *testing.T) []byte {
	t.Helper()
	content, err := NewKeyset()
	ensure(t, err)
	return content
}

// sealedBy returns a record of the client c that seal made.
func sealedBy(t *testing.T, seal *Seal) string {
	t.Helper()
	record, err := seal.encode(sessiontest.NewToken("c", monday))
	ensure(t, err)
	return string(record)
}

func opens(t *testing.T, seal *Seal, record string) (opened, old bool) {
	t.Helper()
	_, old, err := seal.decode("c", record)
	if err != nil && !errors.Is(err, session.ErrRecordUnreadable) {
		t.Errorf("decode: %v, want ErrRecordUnreadable or nothing", err)
	}
	return err == nil, old
}

func TestReplicasWithTheSamePortalAPIKeyReadEachOtherAndNobodyElseDoes(t *testing.T) {
	t.Parallel()
	record := sealedBy(t, testSeal("custodian-key"))
	elsewhere, err := NewSeal(SealParts{Prefix: "p2", Window: week, Key: session.NewSecret("custodian-key")})
	ensure(t, err)
	keys := newKeyset(t)
	shared, err := NewSeal(SealParts{Prefix: "p2", Window: week, Key: session.NewSecret("custodian-key"), Keyset: keys})
	ensure(t, err)
	if opened, _ := opens(t, shared, sealedBy(t, keysetSeal(t, keys))); opened {
		t.Error("the same keyset opens under another prefix")
	}
	for name, c := range map[string]struct {
		seal *Seal
		want bool
	}{
		"the same key":          {testSeal("custodian-key"), true},
		"another key":           {testSeal("custodian-kez"), false},
		"another prefix":        {elsewhere, false},
		"a keyset and that key": {keysetSeal(t, newKeyset(t)), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, _ := opens(t, c.seal, record); got != c.want {
				t.Errorf("opened: %t, want %t", got, c.want)
			}
		})
	}
}

func TestWhatWasSealedOpensAsNothingElse(t *testing.T) {
	t.Parallel()
	seal := testSeal("custodian-key")
	for name, wrong := range map[string][]string{
		"another kind":           {kindRegistration, "c", "id"},
		"another client":         {kindToken, "d", "id"},
		"another id":             {kindToken, "c", "ie"},
		"less of it":             {kindToken, "c"},
		"more of it":             {kindToken, "c", "id", ""},
		"parts that run over":    {kindToken, "ci", "d"},
		"a kind that runs over":  {kindToken + "c", "", "id"},
		"a client that runs out": {kindToken, "", "cid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sealed, err := seal.seal([]byte("text"), kindToken, "c", "id")
			ensure(t, err)
			if text, _, err := seal.open(string(sealed), kindToken, "c", "id"); string(text) != "text" || err != nil {
				t.Errorf("opened %q, %v", text, err)
			}
			if text, _, err := seal.open(string(sealed), wrong[0], wrong[1:]...); !errors.Is(err, errNotOpened) || len(text) > 0 {
				t.Errorf("opened %q, %v; want nothing", text, err)
			}
		})
	}
}

func TestNoTwoRecordsOfATokenAreAlike(t *testing.T) {
	t.Parallel()
	const n = 1000
	seal, token, seen := testSeal("custodian-key"), sessiontest.NewToken("c", monday), map[string]bool{}
	for range n {
		record, err := seal.encode(token)
		ensure(t, err)
		if bytes.Contains(record, []byte(token.Secret.Reveal())) {
			t.Fatal("the token lies in the record in clear")
		}
		seen[string(record[offsetSealed+5:offsetSealed+29])] = true
	}
	if len(seen) != n {
		t.Errorf("%d records have %d nonces", n, len(seen))
	}
}

func TestKeyThatWasReplacedOpensForAsLongAsItsRecordsMayLive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seal := testSeal("first")
		record := sealedBy(t, seal)
		ensure(t, seal.Rotate(session.NewSecret("second")))
		if opened, old := opens(t, seal, record); !opened || !old {
			t.Errorf("just replaced: opened %t, old %t; want both", opened, old)
		}
		if fresh := sealedBy(t, seal); fresh[offsetSealed:offsetSealed+5] == record[offsetSealed:offsetSealed+5] {
			t.Error("the key that was replaced still seals")
		}
		time.Sleep(week - 1)
		if opened, _ := opens(t, seal, record); !opened {
			t.Error("a moment before the end it opens nothing any more")
		}
		time.Sleep(time.Nanosecond)
		if opened, _ := opens(t, seal, record); opened {
			t.Error("at the end it still opens")
		}
	})
}

func TestKeyThatComesNextOpensAndIsNotOld(t *testing.T) {
	t.Parallel()
	ahead, behind := testSeal("second"), testSeal("first")
	record := sealedBy(t, ahead)
	if opened, _ := opens(t, behind, record); opened {
		t.Fatal("it opens before it is known")
	}
	ensure(t, behind.Rotate(session.NewSecret("first"), session.NewSecret("second")))
	if opened, old := opens(t, behind, record); !opened || old {
		t.Errorf("opened %t, old %t; want it opened and left as it is", opened, old)
	}
}

func TestKeyThatComesBackIsNotOldAnyMore(t *testing.T) {
	t.Parallel()
	seal := testSeal("first")
	record := sealedBy(t, seal)
	for _, key := range []string{"second", "first"} {
		ensure(t, seal.Rotate(session.NewSecret(key)))
	}
	if opened, old := opens(t, seal, record); !opened || old {
		t.Errorf("opened %t, old %t; want it opened and not old", opened, old)
	}
}

func TestManyReplacedKeysAreBounded(t *testing.T) {
	t.Parallel()
	seal := testSeal("key")
	for range mostFormer + 50 {
		ensure(t, seal.Rotate(session.NewSecret(rand.Text())))
	}
	if n := len(seal.ring.Load().opens); n != mostFormer+1 {
		t.Errorf("%d keys open, want %d", n, mostFormer+1)
	}
}

func TestEachStepOfARotationIsReadByTheStepsBesideIt(t *testing.T) {
	t.Parallel()
	first := newKeyset(t)
	added := step(t, AddKey, first)
	promoted := step(t, PromoteKey, added)
	retired := step(t, RetireKeys, promoted)
	files := [][]byte{first, added, promoted, retired}
	wantOld := [][]bool{{false, false, false, false}, {false, false, false, false}, {true, true, false, false}, {false, false, false, false}}
	readable := func(by, of int) bool { // the key of the last two is not in the first, nor the other way round
		return (by != 0 || of < 2) && (by != 3 || of > 1)
	}
	for by, reader := range files {
		for of, writer := range files {
			opened, old := opens(t, keysetSeal(t, reader), sealedBy(t, keysetSeal(t, writer)))
			if opened != readable(by, of) || opened && old != wantOld[by][of] {
				t.Errorf("step %d reads step %d: opened %t, old %t", by, of, opened, old)
			}
		}
	}
}

func TestRetiredKeyOpensForAMinuteMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := newKeyset(t)
		seal := keysetSeal(t, first)
		record := sealedBy(t, seal)
		promoted := step(t, PromoteKey, step(t, AddKey, first))
		ensure(t, seal.Reload(promoted))
		ensure(t, seal.Reload(step(t, RetireKeys, promoted)))
		time.Sleep(time.Minute - 1)
		if opened, old := opens(t, seal, record); !opened || !old {
			t.Errorf("within the minute: opened %t, old %t; want both", opened, old)
		}
		time.Sleep(time.Nanosecond)
		if opened, _ := opens(t, seal, record); opened {
			t.Error("after the minute it still opens")
		}
	})
}

func TestStepOfARotationOutOfTurnIsRefused(t *testing.T) {
	t.Parallel()
	first := newKeyset(t)
	added := step(t, AddKey, first)
	for name, c := range map[string]struct {
		edit    func([]byte) ([]byte, error)
		content []byte
		want    error
	}{
		"promoted before one was added":   {PromoteKey, first, errNothingAdded},
		"retired before one was added":    {RetireKeys, first, errNothingOld},
		"retired before it was promoted":  {RetireKeys, added, errNothingOld},
		"added twice":                     {AddKey, added, errPromoteFirst},
		"added to nothing":                {AddKey, nil, errNoKeyset},
		"promoted in half a file":         {PromoteKey, added[:len(added)/2], errNoKeyset},
		"promoted again":                  {PromoteKey, step(t, PromoteKey, added), errNothingAdded},
		"retired again":                   {RetireKeys, step(t, RetireKeys, step(t, PromoteKey, added)), errNothingOld},
		"added to a file of another kind": {AddKey, []byte(`{"keys":[]}`), errNoKeyset},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if content, err := c.edit(c.content); !errors.Is(err, c.want) || content != nil {
				t.Errorf("%d bytes, %v; want %v", len(content), err, c.want)
			}
		})
	}
}

// templated returns a keyset of one key of a kind.
func templated(t *testing.T, template *tinkpb.KeyTemplate) []byte {
	t.Helper()
	handle, err := keyset.NewHandle(template)
	ensure(t, err)
	var out bytes.Buffer
	ensure(t, insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&out)))
	return out.Bytes()
}

var keyMaterial = regexp.MustCompile(`"value":"([^"]{12})`)

func TestFileThatIsNoKeysetLeavesTheLastGoodOne(t *testing.T) {
	t.Parallel()
	good := newKeyset(t)
	for name, bad := range map[string][]byte{
		"empty":                    nil,
		"half of it":               good[:len(good)/2],
		"all but the end":          good[:len(good)-2],
		"the Portal API Key":       []byte("custodian-key"),
		"no keys":                  []byte(`{"primaryKeyId":1,"key":[]}`),
		"a key of another kind":    templated(t, mac.HMACSHA256Tag256KeyTemplate()),
		"keys that give no id":     templated(t, aead.AES256GCMNoPrefixKeyTemplate()),
		"no primary key":           regexp.MustCompile(`"primaryKeyId":\d+`).ReplaceAll(good, []byte(`"primaryKeyId":1`)),
		"a key that is no base64":  bytes.Replace(good, []byte(`"value":"`), []byte(`"value":"!`), 1),
		"a key with a field extra": bytes.Replace(good, []byte(`"value":"`), []byte(`"secret-field":"s3cret","value":"`), 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seal := keysetSeal(t, good)
			seal.Changed = func() { t.Error("a change was told of") }
			record := sealedBy(t, seal)
			err := seal.Reload(bad)
			if err == nil {
				t.Fatal("it was taken for a keyset")
			}
			for _, part := range keyMaterial.FindAllSubmatch(append(bad, good...), -1) {
				if strings.Contains(err.Error(), string(part[1])) {
					t.Errorf("the error quotes a key: %v", err)
				}
			}
			if opened, old := opens(t, seal, record); !opened || old {
				t.Errorf("opened %t, old %t; want the last good keyset in use", opened, old)
			}
			if again := sealedBy(t, seal); again[offsetSealed:offsetSealed+5] != record[offsetSealed:offsetSealed+5] {
				t.Error("another key seals")
			}
		})
	}
}

func TestKeysetOfAnotherCipherSeals(t *testing.T) {
	t.Parallel()
	for name, template := range map[string]*tinkpb.KeyTemplate{
		"AES-256-GCM":        aead.AES256GCMKeyTemplate(),
		"AES-256-GCM-SIV":    aead.AES256GCMSIVKeyTemplate(),
		"XChaCha20-Poly1305": aead.XChaCha20Poly1305KeyTemplate(),
		"XAES-256-GCM":       aead.XAES256GCM192BitNonceKeyTemplate(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content := templated(t, template)
			if opened, _ := opens(t, keysetSeal(t, content), sealedBy(t, keysetSeal(t, content))); !opened {
				t.Error("what it sealed does not open")
			}
		})
	}
}

func TestChangeIsToldOnceAndOnlyIfThereIsOne(t *testing.T) {
	t.Parallel()
	first := newKeyset(t)
	seal, told := keysetSeal(t, first), 0
	seal.Changed = func() { told++ }
	for _, c := range []struct {
		name string
		do   func() error
		want int
	}{
		{"the same keyset", func() error { return seal.Reload(first) }, 0},
		{"the same key", func() error { return seal.Rotate(session.NewSecret("custodian-key")) }, 0},
		{"another keyset", func() error { return seal.Reload(step(t, AddKey, first)) }, 1},
		{"another key", func() error { return seal.Rotate(session.NewSecret("next")) }, 2},
	} {
		ensure(t, c.do())
		if told != c.want {
			t.Errorf("%s: told %d times, want %d", c.name, told, c.want)
		}
	}
}

func TestNameOfAClientSaysNothingOfItAndStaysWhenKeysChange(t *testing.T) {
	t.Parallel()
	const client = "cm0r6nkek00ej10dwwx8wdjmf"
	seal := testSeal("custodian-key")
	name := seal.Key(client, "token")
	if !regexp.MustCompile(`\Ap:\{[A-Za-z0-9_-]{22}\}:token\z`).MatchString(name) {
		t.Errorf("the name is %q", name)
	}
	if other := testSeal("another-key").Key(client, "token"); other == name {
		t.Error("whoever has another key gives the same name")
	}
	if other := seal.registrationKey(client); other[:25] == name[:25] {
		t.Error("a registration of that key shares the client's name")
	}
	ensure(t, seal.Rotate(session.NewSecret("next")))
	ensure(t, seal.Reload(newKeyset(t)))
	if now := seal.Key(client, "token"); now != name {
		t.Errorf("the name was %q, is %q", name, now)
	}
}

func TestWhatCanNotBeOpenedIsTold(t *testing.T) {
	t.Parallel()
	var told []string
	seal, err := NewSeal(SealParts{
		Prefix: "p", Window: week, Key: session.NewSecret("custodian-key"), Failed: func(operation string) { told = append(told, operation) },
	})
	ensure(t, err)
	sealed, err := seal.seal([]byte("text"), kindToken, "alice")
	ensure(t, err)
	if _, _, err := seal.open(string(sealed), kindToken, "alice"); err != nil || len(told) != 0 {
		t.Errorf("error %v, told of %q, want neither", err, told)
	}
	if _, _, err := seal.open(string(sealed), kindToken, "bob"); !errors.Is(err, errNotOpened) || len(told) != 1 || told[0] != opening {
		t.Errorf("error %v, told of %q, want %v and one %q", err, told, errNotOpened, opening)
	}
}
