package caller

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
	"golang.org/x/time/rate"
)

// Issuer is who makes tokens that callers may show.
type Issuer struct {
	// Name is what the subjects of callers refer to.
	Name       string   `yaml:"name"`
	URL        string   `yaml:"url"`
	Audience   string   `yaml:"audience"`
	Algorithms []string `yaml:"algorithms"`
	// CAFile has the certificates by which the issuer's own is known; empty for the system's.
	CAFile string `yaml:"caFile"`
	// TokenFile has the token that the issuer's keys are asked for with; empty for none.
	TokenFile string `yaml:"tokenFile"`
}

func sameIssuers(a, b []Issuer) bool {
	return slices.EqualFunc(a, b, func(a, b Issuer) bool {
		return a.Name == b.Name && a.URL == b.URL && a.Audience == b.Audience && slices.Equal(a.Algorithms, b.Algorithms) &&
			a.CAFile == b.CAFile && a.TokenFile == b.TokenFile
	})
}

// file is the callers file.
type file struct {
	Issuers []Issuer `yaml:"issuers"`
	Callers []entry  `yaml:"callers"`
}

// entry is one caller in it.
type entry struct {
	Name         string    `yaml:"name"`
	Keys         []string  `yaml:"keys"`
	Certificates []string  `yaml:"certificates"`
	Subjects     []subject `yaml:"subjects"`
	UIDs         []uint32  `yaml:"uids"`
	Routes       []string  `yaml:"routes"`
	Clients      []string  `yaml:"clients"`
	Rate         string    `yaml:"rate"`
}

type subject struct {
	Issuer  string `yaml:"issuer"`
	Subject string `yaml:"subject"`
}

// parse reads a callers file strictly: what is misspelled, empty or given twice would allow or refuse something else than
// was meant.
func parse(content []byte) (*book, error) {
	if !bytes.HasSuffix(content, []byte("\n")) {
		return nil, errors.New("want a line end at its end: a beginning of client ids that is cut off would allow more")
	}
	var f file
	if err := yaml.Load(content, &f, yaml.WithKnownFields()); err != nil {
		return nil, explain(err)
	}
	b := &book{
		issuers: f.Issuers, certificates: map[string]int{}, subjects: map[Identity]int{}, uids: map[uint32]int{},
		limiters: map[string]*rate.Limiter{},
	}
	if err := checkIssuers(f.Issuers); err != nil {
		return nil, err
	}
	if len(f.Callers) == 0 {
		return nil, errors.New("callers: want at least one")
	}
	for i, e := range f.Callers {
		if err := b.add(e); err != nil {
			return nil, fmt.Errorf("callers[%d]%s: %w", i, e.shownName(), err)
		}
	}
	return b, nil
}

var unknownField = regexp.MustCompile(`\Afield ([A-Za-z]{1,20}) not found`)

// explain says where the mistake is, and no more than the name of a field of what stands there: it may be a key.
func explain(err error) error {
	at, ok := errors.AsType[*yaml.LoadError](err)
	if !ok || at.Mark.Line == 0 {
		return errors.New("want one YAML document with callers in it")
	}
	what := "it is not valid YAML, or not of the kind that is wanted here"
	if field := unknownField.FindStringSubmatch(at.Message); field != nil {
		what = fmt.Sprintf("there is no field %q here", field[1])
	}
	if strings.HasPrefix(at.Message, "mapping key") {
		what = "a field is given twice"
	}
	return fmt.Errorf("line %d: %s", at.Mark.Line, what)
}

// names are fit for logs; who may be called by one is told apart from what may be a key in the wrong place.
var names = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9._-]{0,31}\z`)

// NameAllowed says what is a name.
const NameAllowed = "1 to 32 of the characters A-Z a-z 0-9 . _ -, the first a letter or digit, and not " + anonymousName

// IsName reports whether a caller or an issuer may be called so.
func IsName(text string) bool { return names.MatchString(text) && text != anonymousName }

// shownName returns the name for a message, if it is one.
func (e entry) shownName() string {
	if !IsName(e.Name) {
		return ""
	}
	return " (" + e.Name + ")"
}

func checkIssuers(issuers []Issuer) error {
	seen := map[string]bool{}
	for i, issuer := range issuers {
		switch {
		case !IsName(issuer.Name):
			return fmt.Errorf("issuers[%d]: name: want %s", i, NameAllowed)
		case seen[issuer.Name]:
			return fmt.Errorf("issuers[%d]: name: another issuer has it", i)
		case issuer.URL == "" || issuer.Audience == "":
			return fmt.Errorf("issuers[%d] (%s): want url and audience", i, issuer.Name)
		}
		seen[issuer.Name] = true
	}
	return nil
}
