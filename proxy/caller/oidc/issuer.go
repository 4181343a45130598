package oidc

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// leeway is how far an issuer's clock may be ahead of this one. A token that has expired by this clock has expired.
const leeway = 30 * time.Second

// maxDate is the last second that a date of four digits can tell. What lies beyond is no date but an attempt.
const maxDate = 253_402_300_799

// Issuer is one whose tokens are accepted.
type Issuer struct {
	// Name is what the issuer is called in settings and in the log.
	Name string
	// URL is the iss of its tokens, to the byte, and where its keys are found.
	URL string
	// Audience must be in the aud of its tokens.
	Audience string
	// Algorithms are those that it signs by; none means RS256 and ES256.
	Algorithms []string
	// CAFile holds the authorities that its certificate is checked by; none means the system's.
	CAFile string
	// TokenFile holds the token by which the issuer is asked, where it asks for one: a cluster's API server does. The
	// keys are then taken from that server, where Kubernetes has them, because the token must go to no other.
	TokenFile string
}

// everyAlgorithm lists those that may be allowed: with a key pair, so that who verifies can't sign.
var everyAlgorithm = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// Check returns all mistakes in the settings of issuers. None of them is asked for anything.
func Check(issuers []Issuer) error {
	var mistakes []error
	names, urls := map[string]bool{}, map[string]bool{}
	for _, i := range issuers {
		if err := i.check(); err != nil {
			mistakes = append(mistakes, fmt.Errorf("issuer %q: %w", i.Name, err))
		}
		if names[i.Name] || urls[i.URL] {
			mistakes = append(mistakes, fmt.Errorf("issuer %q: another one has its name or URL", i.Name))
		}
		names[i.Name], urls[i.URL] = true, true
	}
	return errors.Join(mistakes...)
}

func (i Issuer) check() error {
	var mistakes []error
	if i.Name == "" || i.Audience == "" {
		mistakes = append(mistakes, errors.New("a name and an audience are required"))
	}
	if err := checkURL(i.URL); err != nil {
		mistakes = append(mistakes, err)
	}
	for _, name := range i.Algorithms {
		if !slices.Contains(everyAlgorithm, jose.SignatureAlgorithm(name)) {
			mistakes = append(mistakes, fmt.Errorf("algorithm %q can't be allowed", name))
		}
	}
	if _, err := readAuthorities(i.CAFile); err != nil {
		mistakes = append(mistakes, err)
	}
	if _, err := readBearer(i.TokenFile); err != nil {
		mistakes = append(mistakes, err)
	}
	return errors.Join(mistakes...)
}

// checkURL refuses a place where keys could be swapped on the way, or that isn't one.
func checkURL(text string) error {
	place, err := url.Parse(text)
	switch {
	case err != nil || place.Hostname() == "" || place.User != nil || place.RawQuery != "" || place.Fragment != "":
		return errors.New("the URL must be a scheme, a host and at most a path")
	case place.Scheme == "https", place.Scheme == "http" && isLoopback(place.Hostname()):
		return nil
	default:
		return errors.New("the URL must be https, unless the host is loopback")
	}
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// issuer is an [Issuer] with its keys.
type issuer struct {
	Issuer

	ring *ring
}

func newIssuer(settings Issuer, parts Parts) *issuer {
	if len(settings.Algorithms) == 0 {
		settings.Algorithms = []string{string(jose.RS256), string(jose.ES256)}
	}
	source := source{issuer: settings, dial: parts.Dial}
	return &issuer{Issuer: settings, ring: newRing(source.fetch, parts.Log.With("issuer", settings.Name))}
}

// admit tells whether the token's claims and algorithm are what the issuer's tokens must have. It is pure, and proves
// nothing: see [ring.prove].
func (i *issuer) admit(t token, now time.Time) error {
	switch {
	case !slices.Contains(i.Algorithms, t.algorithm):
		return errAlgorithm
	case !t.claims.Audience.Contains(i.Audience):
		return errAudience
	case t.claims.Subject == "":
		return errSubject
	}
	return t.current(now)
}
