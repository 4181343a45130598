package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// fileSuffix makes the name of the setting that holds the path of a secret's file.
const fileSuffix = "_FILE"

// readSecrets takes those that are secrets from their variables or from the files that their companions name.
func (in *intake) readSecrets(of []setting) {
	for _, s := range of {
		if s.secret() {
			in.readSecret(s, *in.byVariable(s.variable + fileSuffix))
		}
	}
}

func (in *intake) readSecret(s, file setting) {
	direct, inVariable := in.given[s.variable]
	path, inFile := in.given[file.variable]
	switch {
	case inVariable && inFile:
		in.note(s, fmt.Sprintf("%s, %s: got both, want one of them", direct.name, path.name))
	case inFile:
		in.readSecretFile(s, file)
	case inVariable:
		in.keepSecret(s, s, direct.value)
	case s.required:
		in.note(s, fmt.Sprintf("%s: got nothing, want %s, here or in the file that %s names", s.variable, s.allowed, file.variable))
	}
}

func (in *intake) readSecretFile(s, file setting) {
	content, err := os.ReadFile(in.given[file.variable].value)
	if err != nil {
		in.refuse(file, file.allowed+" ("+withoutPath(err).Error()+")")
		return
	}
	in.keepSecret(s, file, string(content))
}

// keepSecret takes text for s, or blames the setting that it came from.
func (in *intake) keepSecret(s, from setting, text string) {
	text = strings.TrimRight(text, "\r\n")
	switch fault := faultOf(s, text); {
	case fault == "":
		in.secrets[s.variable] = text
	case from.secret():
		in.refuse(from, s.allowed+" ("+fault+")")
	default:
		in.refuse(from, "a file with "+s.allowed+" ("+fault+")")
	}
}

// faultOf says what is wrong with the text of a secret, without a part of it.
func faultOf(s setting, text string) string {
	scheme, _, found := strings.Cut(text, "://")
	switch {
	case text == "":
		return "it is empty"
	case !utf8.ValidString(text) || strings.ContainsFunc(text, invisible):
		return "there is white space or an unprintable character in it"
	case len(s.schemes) > 0 && (!found || !slices.Contains(s.schemes, strings.ToLower(scheme))):
		return "it begins with something else"
	}
	return ""
}

// invisible reports a character that nobody means to have in a key: most come from copying and pasting.
func invisible(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }

// withoutPath drops the path from an error of a file: the message shows it already.
func withoutPath(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err
	}
	return err
}
