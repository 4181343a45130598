package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Where Portal's families lie here. Below a beginning lies everything that begins with it and a slash; exactly there,
// what a beginning without a slash at its end says.
const enclaveHere = "/enclave"

// familyPaths :: family -> the beginnings of its paths (Portal's documentation of its Client, Enclave MPC and Custodian API)
var familyPaths = map[session.Route][]string{
	session.RouteClient: {
		"/api/v1/clients/me", "/api/v2/clients/me", "/api/v3/clients/me", "/api/v1/swaps/", "/api/v3/swaps/",
		"/api/v1/analytics/", "/api/v1/config/", "/rpc/v1/",
	},
	session.RouteEnclave:   {enclaveHere + "/v1/"},
	session.RouteCustodian: {"/api/v1/custodians", "/api/v3/custodians", "/api/clients"},
}

// custodianCall is one call to the Custodian API that is passed on; {} stands for a client's id. One who calls it without
// naming a client must be allowed every client.
type custodianCall struct{ method, path string }

// custodianCalls are all: what makes sessions, or shows a key of Portal's, is not among them.
var custodianCalls = []custodianCall{
	{http.MethodGet, portalV1}, {http.MethodGet, portalV1 + "/{}"},
	// Both are seen: its own example sends the GET.
	{http.MethodPost, portalV1 + "/{}/web-otp"}, {http.MethodGet, portalV1 + "/{}/web-otp"},
	{http.MethodPost, portalV3 + "/{}/web-otps"},
	{http.MethodGet, portalV3}, {http.MethodGet, portalV3 + "/{}"},
	{http.MethodPatch, portalV3 + "/{}/enable-eject"},
	{http.MethodPost, portalV3 + "/{}/prepare-eject"}, {http.MethodPost, portalV1 + "/{}/prepare-eject"},
	{http.MethodPost, "/api/clients"},
}

// familyOf returns the family in whose part of the paths a request's target is; "" for none. The target is as it came on the
// wire: what only looks like one of these once it is decoded, or cleaned, is none.
func familyOf(target string) session.Route {
	path, _, _ := strings.Cut(target, "?")
	for family, beginnings := range familyPaths {
		if slices.ContainsFunc(beginnings, func(beginning string) bool { return isBelow(path, beginning) }) {
			return family
		}
	}
	return ""
}

func isBelow(path, beginning string) bool {
	rest, ok := strings.CutPrefix(path, beginning)
	return ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(beginning, "/"))
}

// checkTarget returns what is wrong with a target that could mean another place to who reads it next: RFC 3986 knows it, but
// Portal needs none of it.
func checkTarget(target string) error {
	path, query, _ := strings.Cut(target, "?")
	if i := strings.IndexFunc(path, notInPath); i >= 0 {
		return fmt.Errorf("%w: byte %d of the path must be percent-encoded, or not be there", session.ErrInvalidRequest, i+1)
	}
	if i := strings.IndexFunc(query, notInQuery); i >= 0 {
		return fmt.Errorf("%w: byte %d of the query must be percent-encoded, or not be there", session.ErrInvalidRequest, i+1)
	}
	if err := checkEscapes(path); err != nil {
		return err
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "." || segment == ".." || segment == "" {
			return fmt.Errorf("%w: the path has an empty segment, or one of dots", session.ErrInvalidRequest)
		}
	}
	return nil
}

// notInQuery holds of what would end a query, or a line; all else is Portal's own affair.
func notInQuery(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }

// notInPath holds of what RFC 3986 has no place for in a path, and of the semicolon, at which some servers cut it.
func notInPath(c rune) bool { return notInQuery(c) || strings.ContainsRune(`\;"<>^{|}`+"`", c) }

// checkEscapes wants percent-encoding that decodes to what no server takes apart a path at, or decodes again.
func checkEscapes(path string) error {
	for rest := path; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			return nil
		}
		c, ok := unhex(after)
		if !ok || c <= ' ' || c >= 0x7f || strings.IndexByte(`%./\;?#`, c) >= 0 {
			return fmt.Errorf("%w: the path has a percent-encoding that is not passed on", session.ErrInvalidRequest)
		}
		rest = after[2:]
	}
}

func unhex(text string) (c byte, ok bool) {
	if len(text) < 2 {
		return 0, false
	}
	for _, digit := range []byte(text[:2]) {
		switch {
		case digit >= '0' && digit <= '9':
			c = c<<4 | (digit - '0')
		case digit|0x20 >= 'a' && digit|0x20 <= 'f':
			c = c<<4 | (digit | 0x20 - 'a' + 10)
		default:
			return 0, false
		}
	}
	return c, true
}

// checkMethod returns what is wrong with a method that the family does not take.
func checkMethod(family session.Route, method string) error {
	switch method {
	case http.MethodPost:
		return nil
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete:
		if family != session.RouteEnclave {
			return nil
		}
	}
	return errMethodNotAllowed
}

// custodianClient returns the client that a call to the Custodian API names, "" if it names none. [session.ErrCallerForbidden]:
// it is none of those that are passed on.
func custodianClient(method, path string) (session.ClientID, error) {
	for _, call := range custodianCalls {
		if call.method != method {
			continue
		}
		if path == call.path && !strings.Contains(path, "{}") {
			return "", nil
		}
		if client, ok := call.client(path); ok {
			return client, nil
		}
	}
	return "", fmt.Errorf("%w: this call to the Custodian API is not passed on", session.ErrCallerForbidden)
}

// client returns the client whom a path names, if it is this call's.
func (c custodianCall) client(path string) (client session.ClientID, ok bool) {
	before, after, named := strings.Cut(c.path, "{}")
	middle, begins := strings.CutPrefix(path, before)
	middle, ends := strings.CutSuffix(middle, after)
	client, err := session.ParseClientID(middle)
	return client, named && begins && ends && err == nil
}

// own are the headers that a request to be passed on must not name in its Connection header: they would be gone before
// anybody looks at them.
var own = []string{
	"authorization", "content-encoding", "content-length", "content-type", "cookie", "host", "transfer-encoding", "x-portal-client-id",
}

// checkHeader returns what is wrong with a header that one server reads in one way and the next in another.
func checkHeader(header http.Header) error {
	for name := range header {
		if strings.Contains(name, "_") {
			return fmt.Errorf("%w: a header's name has an underscore, which some servers take for a dash", session.ErrInvalidRequest)
		}
	}
	for _, name := range []string{headerClient, headerAuthorization, "Content-Length"} {
		if values := header[name]; len(values) > 1 {
			return fmt.Errorf("%w: the header %s is there %d times", session.ErrInvalidRequest, name, len(values))
		}
	}
	for _, named := range tokens(header["Connection"]) {
		if slices.Contains(own, named) {
			return fmt.Errorf("%w: the Connection header names %s", session.ErrInvalidRequest, named)
		}
	}
	if header["Upgrade"] != nil || slices.Contains(tokens(header["Connection"]), "upgrade") {
		return errUpgrade
	}
	return nil
}

// tokens returns the members of a list header, in lower case.
func tokens(values []string) (all []string) {
	for _, value := range values {
		for member := range strings.SplitSeq(value, ",") {
			all = append(all, strings.ToLower(strings.TrimSpace(member)))
		}
	}
	return all
}
