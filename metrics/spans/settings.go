package spans

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.opentelemetry.io/otel/sdk"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// serviceName is the attribute by which collectors tell programs apart.
const serviceName = "service.name"

// The errors hold nothing of what was read: it may be a secret.
var (
	errPair   = errors.New("want name=value pairs, with commas between them")
	errEscape = errors.New("a value is not UTF-8, percent-encoded as in a URL")
	errHeader = errors.New("a name or a value can't be in a header")
)

// ParseHeaders reads name=value pairs with commas between them, the values percent-encoded, as headers.
func ParseHeaders(text session.Secret) (map[string]session.Secret, error) {
	list, err := pairs(text.Reveal())
	if err != nil {
		return nil, err
	}
	headers := map[string]session.Secret{}
	for _, pair := range list {
		if strings.ContainsFunc(pair.name, notInName) || strings.ContainsFunc(pair.value, unicode.IsControl) {
			return nil, errHeader
		}
		headers[pair.name] = session.NewSecret(pair.value)
	}
	return headers, nil
}

// notInName reports what no name of a header has (RFC 9110 section 5.6.2, and of its punctuation what is in use).
func notInName(r rune) bool {
	return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r)
}

// ParseAttributes reads name=value pairs likewise, as attributes of this process (:: name -> value).
func ParseAttributes(text string) (map[string]string, error) {
	list, err := pairs(text)
	if err != nil {
		return nil, err
	}
	attributes := map[string]string{}
	for _, pair := range list {
		attributes[pair.name] = pair.value
	}
	return attributes, nil
}

type pair struct{ name, value string }

func pairs(text string) ([]pair, error) {
	var list []pair
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		name, value, found := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		if !found || name == "" {
			return nil, errPair
		}
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if err != nil || !utf8.ValidString(name+value) { // of which protobuf would take none
			return nil, errEscape
		}
		list = append(list, pair{name, value})
	}
	return list, nil
}

// describe returns what the collector is told of this process.
func describe(parts Parts) (*resourcepb.Resource, error) {
	attributes, err := ParseAttributes(parts.Attributes)
	if err != nil {
		return nil, fmt.Errorf("read the attributes: %w", err)
	}
	attributes[serviceName] = cmp.Or(parts.Service, attributes[serviceName], "cstproxy")
	for name, value := range map[string]string{
		"service.version": parts.Version, "service.instance.id": rand.Text(),
		"telemetry.sdk.name": "opentelemetry", "telemetry.sdk.language": "go", "telemetry.sdk.version": sdk.Version(),
	} {
		attributes[name] = cmp.Or(attributes[name], value)
	}
	about := &resourcepb.Resource{}
	for name, value := range attributes {
		about.Attributes = append(about.Attributes, &commonpb.KeyValue{Key: name, Value: textValue(value)})
	}
	return about, nil
}
