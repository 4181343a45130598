package main

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// intake is one reading of the configuration: what was given, and what is wrong with it.
type intake struct {
	settings  []setting
	given     map[string]given  // :: variable → what the operator set
	secrets   map[string]string // :: variable → text of a secret, from wherever it came
	problems  map[string]string // :: variable → the first mistake in it; the later ones would be its consequences
	strangers []string          // mistakes that belong to no setting
}

// given is a value and the name under which the operator gave it: a variable or a flag with its dashes.
type given struct{ name, value string }

func newIntake(environment, flags map[string]string) *intake {
	in := &intake{
		settings: settings(), given: map[string]given{}, secrets: map[string]string{}, problems: map[string]string{},
	}
	for _, s := range in.settings {
		if value := environment[s.variable]; value != "" {
			in.given[s.variable] = given{s.variable, value}
		}
		if value, ok := flags[s.flag]; ok {
			in.given[s.variable] = given{"--" + s.flag, value}
		}
	}
	return in
}

// checkTexts refuses what can be told from the text alone: a flag given empty, and a word that is none of the allowed.
func (in *intake) checkTexts() {
	for _, s := range in.settings {
		got, ok := in.given[s.variable]
		unlisted := len(s.oneOf) > 0 && !slices.Contains(s.oneOf, got.value)
		if ok && (got.value == "" || unlisted) {
			in.refuse(s, s.allowed)
		}
	}
}

// parse fills a Config. Where a value is wrong the default takes its place, so that the other checks can go on.
func (in *intake) parse() Config {
	var config Config
	err := env.ParseWithOptions(&config, env.Options{
		Environment: in.texts(),
		FuncMap: map[reflect.Type]env.ParserFunc{
			reflect.TypeFor[session.Secret](): func(text string) (any, error) { return session.NewSecret(text), nil },
			reflect.TypeFor[fs.FileMode]():    parseFileMode,
		},
	})
	if all, ok := errors.AsType[env.AggregateError](err); ok {
		in.noteParseErrors(all.Errors)
	}
	return config
}

// texts returns what is to be parsed (:: variable → text). It is never nil: the parser would read the process's own
// environment instead.
func (in *intake) texts() map[string]string {
	texts := map[string]string{}
	for _, s := range in.settings {
		if in.problems[s.variable] != "" {
			continue
		}
		if s.secret() {
			texts[s.variable] = in.secrets[s.variable]
			continue
		}
		texts[s.variable] = in.given[s.variable].value
	}
	return texts
}

func (in *intake) noteParseErrors(errs []error) {
	for _, err := range errs {
		unreadable, ok := errors.AsType[env.ParseError](err)
		if !ok {
			in.strangers = append(in.strangers, err.Error())
			continue
		}
		s := in.find(func(s setting) bool { return s.field == unreadable.Name })
		in.refuse(*s, s.allowed)
	}
}

// refuse notes that the value of s is not what is wanted.
func (in *intake) refuse(s setting, want string) {
	got, ok := in.given[s.variable]
	if !ok {
		in.note(s, fmt.Sprintf("%s: got %s (the default), want %s", s.variable, s.show(s.fallback), want))
		return
	}
	in.note(s, fmt.Sprintf("%s: got %s, want %s", got.name, s.show(got.value), want))
}

// note keeps the first problem of s.
func (in *intake) note(s setting, problem string) {
	if in.problems[s.variable] == "" {
		in.problems[s.variable] = problem
	}
}

// nameOf returns the name that the operator knows the setting by, with its value.
func (in *intake) nameOf(variable string) string {
	s := in.byVariable(variable)
	if got, ok := in.given[variable]; ok {
		return got.name + " (" + s.show(got.value) + ")"
	}
	return variable + " (" + s.show(s.fallback) + ", the default)"
}

func (in *intake) byVariable(variable string) *setting {
	return in.find(func(s setting) bool { return s.variable == variable })
}

// find returns the setting that matches; there must be one.
func (in *intake) find(matches func(setting) bool) *setting {
	return &in.settings[slices.IndexFunc(in.settings, matches)]
}

// err returns every problem, in the order of the settings, or nil.
func (in *intake) err() error {
	var problems []string
	for _, s := range in.settings {
		if problem := in.problems[s.variable]; problem != "" {
			problems = append(problems, problem)
		}
	}
	problems = append(problems, in.strangers...)
	if len(problems) == 0 {
		return nil
	}
	return configError{problems}
}

// configError is a configuration that can't be used. It lists every mistake, one a line, in the order of the settings.
type configError struct{ problems []string }

func (e configError) Error() string { return strings.Join(e.problems, "\n") }
