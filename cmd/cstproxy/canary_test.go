package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// telling is how many characters of a secret's random part nobody writes by chance.
const telling = 12

// canaries are the secrets of a run, and find them wherever they sing. The zero value has none.
type canaries struct {
	mu sync.Mutex
	// kinds :: random part of a secret → what kind of secret it is
	kinds map[string]string
}

// make returns a new secret that begins with prefix.
func (c *canaries) make(kind, prefix string) string {
	random := rand.Text()
	c.keep(kind, random)
	return prefix + random
}

// keep takes down a secret that somebody else made, or the random part of it.
func (c *canaries) keep(kind, secret string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kinds == nil {
		c.kinds = map[string]string{}
	}
	c.kinds[secret] = kind
}

// count returns how many there are (:: kind → secrets).
func (c *canaries) count() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := map[string]int{}
	for _, kind := range c.kinds {
		count[kind]++
	}
	return count
}

// disguises :: name → how a part of a secret looks in it. Of a base64 text each third part is aligned, which is enough.
func disguises() map[string]func(part string) string {
	each := func(format, separator string) func(string) string {
		return func(part string) string {
			var bytes []string
			for _, b := range []byte(part) {
				bytes = append(bytes, fmt.Sprintf(format, b))
			}
			return strings.Join(bytes, separator)
		}
	}
	return map[string]func(string) string{
		"as it is":                    func(part string) string { return part },
		"backwards":                   func(part string) string { b := []byte(part); slices.Reverse(b); return string(b) },
		"in base64":                   func(part string) string { return base64.RawStdEncoding.EncodeToString([]byte(part)) },
		"in base64url":                func(part string) string { return base64.RawURLEncoding.EncodeToString([]byte(part)) },
		"in hex":                      func(part string) string { return hex.EncodeToString([]byte(part)) },
		"in capital hex":              each("%02X", ""),
		"escaped for a URL":           each("%%%02X", ""),
		"escaped for a URL, in small": each("%%%02x", ""),
		"escaped for JSON":            each(`\u%04x`, ""),
		"as numbers":                  each("%d", " "),
		"as numbers in a list":        each("%d", ","),
		"as words of a stack":         each("%#x", ", "),
	}
}

// song is one way in which a part of a secret may be written.
type song struct{ text, kind, disguise string }

// songs returns all that the canaries may sing (:: first characters → songs that begin so).
func (c *canaries) songs() map[string][]song {
	c.mu.Lock()
	defer c.mu.Unlock()
	songs := map[string][]song{}
	for secret, kind := range c.kinds {
		for at := range len(secret) - telling + 1 {
			for name, disguise := range disguises() {
				text := disguise(secret[at : at+telling])
				songs[text[:telling]] = append(songs[text[:telling]], song{text, kind, name})
			}
		}
	}
	return songs
}

// hearIn returns where a secret of a kind that matters stands in the text, one place for each kind and disguise.
func hearIn(songs map[string][]song, text string, matters func(kind string) bool) []string {
	found := map[string]string{}
	for at := range len(text) - telling + 1 {
		for _, s := range songs[text[at:at+telling]] {
			if matters(s.kind) && strings.HasPrefix(text[at:], s.text) {
				found[s.kind+" "+s.disguise] = text[max(at-200, 0):min(at+100, len(text))]
			}
		}
	}
	var places []string
	for _, what := range slices.Sorted(maps.Keys(found)) {
		places = append(places, fmt.Sprintf("%s: …%q…", what, found[what]))
	}
	return places
}

func everyKind(string) bool { return true }

// TestASecretIsFoundInEveryDisguiseAndWhereverItIsCut holds the search to what the runs take from it.
func TestASecretIsFoundInEveryDisguiseAndWhereverItIsCut(t *testing.T) {
	t.Parallel()
	var c canaries
	secret := c.make("key", "portal-key-")
	songs := c.songs()
	random := strings.TrimPrefix(secret, "portal-key-")
	for name, disguise := range disguises() {
		for at := range 3 {
			part := random[at : at+telling+2] // two more, for base64 to be aligned somewhere
			if places := hearIn(songs, "before "+disguise(part)+" after", everyKind); len(places) == 0 {
				t.Errorf("%s, from character %d: not found", name, at)
			}
		}
	}
	basic := base64.StdEncoding.EncodeToString([]byte("cstproxy:" + secret))
	if places := hearIn(songs, "Authorization: Basic "+basic, everyKind); len(places) == 0 {
		t.Error("in basic authentication: not found")
	}
	if places := hearIn(songs, "portal-key- "+random[:telling-1]+" "+rand.Text(), everyKind); len(places) > 0 {
		t.Errorf("found where it is not: %s", places)
	}
}
