package caller

import (
	"crypto/x509"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

const (
	spiffeScheme = "spiffe"
	commonName   = "CN="
)

// dnsNames has no wildcards: a caller is one, or several that are written down.
var dnsNames = regexp.MustCompile(`\A[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\z`)

// byCertificate tells whose request it is by the client certificate, if TLS verified one.
func (b *book) byCertificate(r *http.Request) ([]int, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil, nil
	}
	var callers []int
	for _, name := range namesOf(r.TLS.VerifiedChains[0][0]) {
		if caller, ok := b.certificates[name]; ok {
			callers = append(callers, caller)
		}
	}
	return callers, nil
}

// namesOf returns the certificate's names, each as the callers file has it. Of a SPIFFE id there must be but one (X509-SVID
// section 2); otherwise none counts.
func namesOf(certificate *x509.Certificate) []string {
	var names []string
	if len(certificate.URIs) == 1 && certificate.URIs[0].Scheme == spiffeScheme {
		names = append(names, certificate.URIs[0].String())
	}
	for _, name := range certificate.DNSNames {
		if name = strings.ToLower(name); dnsNames.MatchString(name) { // not what looks like one of the other kinds
			names = append(names, name)
		}
	}
	return append(names, commonName+certificate.Subject.CommonName)
}

// parseCertificateName reads one line of a caller's certificates.
func parseCertificateName(text string) (name string, ok bool) {
	if rest, isCommonName := strings.CutPrefix(text, commonName); isCommonName {
		return text, rest != "" && rest == strings.TrimSpace(rest)
	}
	if strings.HasPrefix(text, spiffeScheme+"://") {
		return text, isSPIFFE(text)
	}
	name = strings.ToLower(text)
	return name, dnsNames.MatchString(name)
}

// isSPIFFE accepts an id of a workload as it is compared: a trust domain and a path, nothing else, spelled as a certificate
// will spell it.
func isSPIFFE(text string) bool {
	id, err := url.Parse(text)
	return err == nil && id.String() == text && id.Host != "" && strings.Trim(id.Path, "/") != "" && id.User == nil &&
		id.RawQuery == "" && id.Fragment == "" && id.Port() == ""
}
