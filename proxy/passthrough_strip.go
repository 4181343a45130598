package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// mostNesting is deeper than anything that Portal answers.
const mostNesting = 64

var errNotJSON = errors.New("it is not the JSON that was expected")

// strip returns a JSON text without the members that are credentials which never expire, at whatever depth; the order of the
// others, and their numbers, stay; without any it is returned as it is. forbidden is a text that no string may hold either: such a
// one becomes "".
func strip(text []byte, forbidden string) ([]byte, error) {
	s := stripping{decoder: json.NewDecoder(bytes.NewReader(text)), forbidden: forbidden}
	s.decoder.UseNumber()
	if err := s.value(0); err != nil {
		return nil, errNotJSON // the decoder's own words may hold a part of the text
	}
	if _, err := s.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotJSON
	}
	if !s.found {
		return text, nil
	}
	return s.out.Bytes(), nil
}

type stripping struct {
	decoder   *json.Decoder
	forbidden string
	// found: there was something to take out.
	found bool
	out   bytes.Buffer
}

// value copies the next value.
func (s *stripping) value(depth int) error {
	token, err := s.decoder.Token()
	if err != nil {
		return err
	}
	switch token := token.(type) {
	case json.Delim:
		return s.nested(token, depth+1)
	case string:
		if s.forbidden != "" && strings.Contains(token, s.forbidden) {
			token, s.found = "", true
		}
		return s.write(token)
	}
	return s.write(token)
}

// nested copies the members of an object or an array, up to its end.
func (s *stripping) nested(open json.Delim, depth int) error {
	if depth > mostNesting {
		return errNotJSON
	}
	s.out.WriteString(open.String())
	copyNext := s.member
	if open == '[' {
		copyNext = s.element
	}
	for first := true; s.decoder.More(); {
		if err := copyNext(&first, depth); err != nil {
			return err
		}
	}
	end, err := s.decoder.Token()
	if err != nil {
		return err
	}
	s.out.WriteString(end.(json.Delim).String()) //nolint:forcetypeassert,errcheck // what follows the last member
	return nil
}

// element copies an element of an array.
func (s *stripping) element(first *bool, depth int) error {
	s.comma(first)
	return s.value(depth)
}

// member copies a member of an object, unless it is a credential.
func (s *stripping) member(first *bool, depth int) error {
	token, err := s.decoder.Token()
	if err != nil {
		return err
	}
	name, _ := token.(string)
	if isCredential(name) || s.forbidden != "" && strings.Contains(name, s.forbidden) {
		return s.skip()
	}
	s.comma(first)
	if err := s.write(name); err != nil {
		return err
	}
	s.out.WriteByte(':')
	return s.value(depth)
}

func (s *stripping) skip() error {
	s.found = true
	var skipped json.RawMessage
	return s.decoder.Decode(&skipped)
}

func (s *stripping) comma(first *bool) {
	if !*first {
		s.out.WriteByte(',')
	}
	*first = false
}

// write writes a string, a number, true, false or null.
func (s *stripping) write(scalar any) error {
	encoder := json.NewEncoder(&s.out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(scalar); err != nil {
		return err
	}
	s.out.Truncate(s.out.Len() - 1) // the newline that Encode ends with
	return nil
}

// isCredential reports whether a member's name says that it is a credential which does not expire, however it is spelled. A
// Client Session Token is none.
func isCredential(name string) bool {
	spelled := strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(name))
	switch spelled {
	case "secret", "clientsecret", "secretkey", "privatekey", "password":
		return true
	}
	return strings.Contains(spelled, "apikey") || strings.Contains(spelled, "apisecret") || strings.Contains(spelled, "apitoken")
}
