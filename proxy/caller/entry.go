package caller

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// mostKeys is the one in use and the next one.
const mostKeys = 2

var errTaken = errors.New("it is another caller's, or given twice")

// add takes one caller into the book.
func (b *book) add(e entry) error {
	for _, take := range []func(*book, entry) error{
		(*book).addCaller, (*book).addKeys, (*book).addCertificates, (*book).addSubjects, (*book).addUIDs, (*book).addRate,
	} {
		if err := take(b, e); err != nil {
			return err
		}
	}
	return nil
}

// addCaller appends the caller, for whom the others then add what it is known by.
func (b *book) addCaller(e entry) error {
	switch {
	case !IsName(e.Name):
		return errors.New("name: want " + NameAllowed)
	case slices.ContainsFunc(b.callers, func(other session.Caller) bool { return other.Name == e.Name }):
		return errors.New("name: another caller has it")
	case len(e.Keys)+len(e.Certificates)+len(e.Subjects)+len(e.UIDs) == 0:
		return errors.New("want at least one of keys, certificates, subjects, uids")
	}
	routes, err := parseRoutes(e.Routes)
	if err != nil {
		return err
	}
	if err := checkClients(e.Clients); err != nil {
		return err
	}
	b.callers = append(b.callers, session.Caller{Name: e.Name, Routes: routes, Clients: e.Clients})
	return nil
}

func (b *book) last() int { return len(b.callers) - 1 }

func parseRoutes(texts []string) ([]session.Route, error) {
	allowed := append(session.Routes(), session.Everything)
	var routes []session.Route
	for _, text := range texts {
		if !slices.Contains(allowed, session.Route(text)) {
			return nil, fmt.Errorf("routes[%d]: want one of %s", len(routes), listed(allowed))
		}
		routes = append(routes, session.Route(text))
	}
	if len(routes) == 0 {
		return nil, fmt.Errorf("routes: want at least one of %s", listed(allowed))
	}
	return routes, nil
}

func listed(routes []session.Route) string {
	var texts []string
	for _, route := range routes {
		texts = append(texts, string(route))
	}
	return strings.Join(texts, ", ")
}

func checkClients(beginnings []string) error {
	if len(beginnings) == 0 {
		return fmt.Errorf("clients: want at least one beginning of client ids, or %q", session.Everything)
	}
	for i, beginning := range beginnings {
		if _, err := session.ParseClientID(beginning); err != nil && beginning != session.Everything {
			return fmt.Errorf("clients[%d]: want the beginning of client ids, or %q for all", i, session.Everything)
		}
	}
	return nil
}

func (b *book) addKeys(e entry) error {
	if len(e.Keys) > mostKeys {
		return fmt.Errorf("keys: want at most %d, the one in use and the next", mostKeys)
	}
	for i, line := range e.Keys {
		text, prefixed := strings.CutPrefix(line, digestPrefix)
		sum, err := hex.DecodeString(text)
		if !prefixed || err != nil || len(sum) != len(digest{}) {
			return fmt.Errorf("keys[%d]: want %s and the 64 hex digits of a key's SHA-256, as cstproxy key new prints it", i, digestPrefix)
		}
		if slices.ContainsFunc(b.keys, func(k keyOwner) bool { return k.digest == digest(sum) }) {
			return fmt.Errorf("keys[%d]: %w", i, errTaken)
		}
		b.keys = append(b.keys, keyOwner{digest: digest(sum), caller: b.last()})
	}
	return nil
}

func (b *book) addCertificates(e entry) error {
	for i, text := range e.Certificates {
		name, ok := parseCertificateName(text)
		if !ok {
			return fmt.Errorf("certificates[%d]: want a SPIFFE id (spiffe://domain/path), a DNS name without wildcards, or CN=name", i)
		}
		if _, taken := b.certificates[name]; taken {
			return fmt.Errorf("certificates[%d]: %w", i, errTaken)
		}
		b.certificates[name] = b.last()
	}
	return nil
}

func (b *book) addSubjects(e entry) error {
	for i, s := range e.Subjects {
		if !slices.ContainsFunc(b.issuers, func(issuer Issuer) bool { return issuer.Name == s.Issuer }) {
			return fmt.Errorf("subjects[%d]: issuer: want the name of one of issuers", i)
		}
		if s.Subject == "" {
			return fmt.Errorf("subjects[%d]: subject: want the sub of its tokens, whole", i)
		}
		identity := Identity(s)
		if _, taken := b.subjects[identity]; taken {
			return fmt.Errorf("subjects[%d]: %w", i, errTaken)
		}
		b.subjects[identity] = b.last()
	}
	return nil
}

func (b *book) addUIDs(e entry) error {
	if len(e.UIDs) > 0 && !peersAreKnown {
		return errors.New("uids: this system does not tell who is at the other end of a Unix socket")
	}
	for i, uid := range e.UIDs {
		if _, taken := b.uids[uid]; taken {
			return fmt.Errorf("uids[%d]: %w", i, errTaken)
		}
		b.uids[uid] = b.last()
	}
	return nil
}

// periods :: unit of a rate → its length
var periods = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// mostRequests is more than a replica can serve in a second.
const mostRequests = 1_000_000

// addRate gives the caller a rate, if it has one: as many at once as in a period, and then as they come back.
func (b *book) addRate(e entry) error {
	if e.Rate == "" {
		return nil
	}
	number, unit, _ := strings.Cut(e.Rate, "/")
	requests, err := strconv.Atoi(number)
	period := periods[unit]
	if err != nil || requests < 1 || requests > mostRequests || period == 0 {
		return fmt.Errorf("rate: want a rate such as 100/s (/s, /m or /h, 1 to %d)", mostRequests)
	}
	b.limiters[e.Name] = rate.NewLimiter(rate.Limit(float64(requests)/period.Seconds()), requests)
	return nil
}
