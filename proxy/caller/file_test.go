package caller_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// line is a key's line in a callers file; other is another's.
var (
	line  = "sha256:" + strings.Repeat("ab", 32)
	other = "sha256:" + strings.Repeat("cd", 32)
)

// good is an entry to which the cases add.
var good = `{name: backend, keys: ["` + line + `"], routes: [token], clients: ["*"]`

func TestCallersFileWithAMistakeIsRefusedInWords(t *testing.T) {
	t.Parallel()
	const canary = "cstp_canarycanarycanary"
	issuers := "issuers: [{name: cluster, url: https://issuer.test, audience: cstproxy}]\n"
	for name, c := range map[string]struct{ file, want string }{
		"no end":                       {"callers: [" + good + "}]\n# more", "want a line end at its end"},
		"nothing":                      {"", "want one YAML document with callers in it"},
		"a comment alone":              {"# later\n", "want one YAML document"},
		"null":                         {"null", "callers: want at least one"},
		"no callers":                   {"callers: []", "callers: want at least one"},
		"half a file":                  {"callers: [" + good, "line 2: it is not valid YAML"},
		"half a file, cut in a key":    {"callers:\n- name: backend\n  keys: [\"sha256:abab", "it is not valid YAML"},
		"not YAML, but a key":          {canary, "line 1: it is not valid YAML"},
		"bytes":                        {"\x00\xff\xfe", "want one YAML document"},
		"two documents":                {"callers: [" + good + "}]\n---\ncallers: [" + good + "}]\n", "want one YAML document"},
		"an unknown field":             {"callers:\n- " + good + ", wallets: [x]}", `line 2: there is no field "wallets" here`},
		"an unknown field that is one": {"callers:\n- " + good + ", " + canary + ": x}", "line 2: it is not valid YAML"},
		"an unknown field at the top":  {"caller:\n- " + good + "}", `line 1: there is no field "caller" here`},
		"a field twice":                {"callers:\n- " + good + ", name: other}", "line 2: a field is given twice"},
		"callers twice":                {"callers: [" + good + "}]\ncallers: []\n", "line 2: a field is given twice"},
		"a key where a number belongs": {"callers:\n- " + good + ", uids: [" + canary + "]}", "line 2: it is not valid YAML, or not of the kind"},
		"a user id below 0":            {"callers:\n- " + good + ", uids: [-1]}", "line 2: it is not valid YAML, or not of the kind"},
		"an anchor that is a key":      {"callers: *" + canary, "line 1: it is not valid YAML"},
		"routes that are no list":      {"callers: [{name: a, keys: [" + line + "], routes: token, clients: [a]}]", "line 1: it is not valid YAML"},
		"no name":                      {"callers: [{keys: [" + line + "], routes: [token], clients: [a]}]", "callers[0]: name: want 1 to 32"},
		"a name with a line end":       {`callers: [{name: "a\nb", keys: [` + line + `], routes: [token], clients: [a]}]`, "callers[0]: name: want 1 to 32"},
		"a name that is a key":         {"callers: [{name: cstp_" + strings.Repeat("k", 43) + ", keys: [" + line + "], routes: [token], clients: [a]}]", "callers[0]: name: want 1 to 32"},
		"the name of nobody":           {"callers: [{name: anonymous, keys: [" + line + "], routes: [token], clients: [a]}]", "callers[0]: name: want 1 to 32"},
		"a name twice":                 {"callers: [" + good + "}, {name: backend, keys: [" + other + "], routes: [token], clients: [a]}]", "callers[1] (backend): name: another caller has it"},
		"no credential":                {"callers: [{name: a, routes: [token], clients: [a]}]", "callers[0] (a): want at least one of keys, certificates, subjects, uids"},
		"no credential, but its list":  {"callers: [{name: a, keys: [], routes: [token], clients: [a]}]", "want at least one of keys"},
		"no routes":                    {"callers: [{name: a, keys: [" + line + "], clients: [a]}]", "callers[0] (a): routes: want at least one of token, forget, activity, inspect, register, client, enclave, custodian, *"},
		"an empty list of routes":      {"callers: [{name: a, keys: [" + line + "], routes: [], clients: [a]}]", "routes: want at least one"},
		"an unknown route":             {"callers: [{name: a, keys: [" + line + "], routes: [token, mint], clients: [a]}]", "routes[1]: want one of token, forget"},
		"a route in capitals":          {"callers: [{name: a, keys: [" + line + "], routes: [Token], clients: [a]}]", "routes[0]: want one of"},
		"no clients":                   {"callers: [{name: a, keys: [" + line + "], routes: [token]}]", "clients: want at least one"},
		"an empty list of clients":     {"callers: [{name: a, keys: [" + line + "], routes: [token], clients: []}]", "clients: want at least one"},
		"an empty client":              {`callers: [{name: a, keys: [` + line + `], routes: [token], clients: [""]}]`, "clients[0]: want the beginning"},
		"a client with a star":         {`callers: [{name: a, keys: [` + line + `], routes: [token], clients: ["a*"]}]`, "clients[0]: want the beginning"},
		"a client that no id is":       {`callers: [{name: a, keys: [` + line + `], routes: [token], clients: [a, b.c]}]`, "clients[1]: want the beginning"},
		"three keys":                   {"callers: [{name: a, keys: [" + line + "," + other + "," + line + "], routes: [token], clients: [a]}]", "keys: want at most 2"},
		"a key in clear":               {"callers: [{name: a, keys: [" + canary + "], routes: [token], clients: [a]}]", "keys[0]: want sha256:"},
		"a key without its prefix":     {"callers: [{name: a, keys: [" + strings.Repeat("ab", 32) + "], routes: [token], clients: [a]}]", "keys[0]: want sha256:"},
		"a key of 63 digits":           {"callers: [{name: a, keys: [" + line[:70] + "], routes: [token], clients: [a]}]", "keys[0]: want sha256:"},
		"a key of another's":           {"callers: [" + good + "}, {name: b, keys: [" + line + "], routes: [token], clients: [a]}]", "callers[1] (b): keys[0]: it is another caller's"},
		"a key of another's, capitals": {"callers: [" + good + "}, {name: b, keys: [\"sha256:" + strings.ToUpper(line[7:]) + "\"], routes: [token], clients: [a]}]", "callers[1] (b): keys[0]: it is another caller's"},
		"a key twice":                  {"callers: [{name: a, keys: [" + line + "," + line + "], routes: [token], clients: [a]}]", "keys[1]: it is another caller's, or given twice"},
		"a certificate of a pattern":   {"callers:\n- " + good + ", certificates: [\"*.example\"]}", "certificates[0]: want a SPIFFE id"},
		"a trust domain":               {"callers:\n- " + good + ", certificates: [\"spiffe://example.org\"]}", "certificates[0]: want a SPIFFE id"},
		"a trust domain with a slash":  {"callers:\n- " + good + ", certificates: [\"spiffe://example.org/\"]}", "certificates[0]: want a SPIFFE id"},
		"a SPIFFE id with a query":     {"callers:\n- " + good + ", certificates: [\"spiffe://example.org/a?b\"]}", "certificates[0]: want a SPIFFE id"},
		"another URL":                  {"callers:\n- " + good + ", certificates: [\"https://example.org/a\"]}", "certificates[0]: want a SPIFFE id"},
		"an empty common name":         {"callers:\n- " + good + ", certificates: [\"CN=\"]}", "certificates[0]: want a SPIFFE id"},
		"a certificate twice":          {"callers:\n- " + good + ", certificates: [a.example, A.example]}", "certificates[1]: it is another caller's, or given twice"},
		"a subject of no issuer":       {"callers:\n- " + good + ", subjects: [{issuer: cluster, subject: a}]}", "subjects[0]: issuer: want the name of one of issuers"},
		"a subject that is empty":      {issuers + "callers:\n- " + good + ", subjects: [{issuer: cluster}]}", "subjects[0]: subject: want"},
		"a subject twice":              {issuers + "callers:\n- " + good + ", subjects: [{issuer: cluster, subject: a}, {issuer: cluster, subject: a}]}", "subjects[1]: it is another"},
		"a user twice":                 {"callers:\n- " + good + ", uids: [7, 7]}", "uids[1]: it is another"},
		"an issuer without a name":     {"issuers: [{url: https://issuer.test, audience: cstproxy}]\ncallers:\n- " + good + "}", "issuers[0]: name: want"},
		"an issuer without a URL":      {"issuers: [{name: cluster, audience: cstproxy}]\ncallers:\n- " + good + "}", "issuers[0] (cluster): want url and audience"},
		"an issuer for any audience":   {"issuers: [{name: cluster, url: https://issuer.test}]\ncallers:\n- " + good + "}", "issuers[0] (cluster): want url and audience"},
		"an issuer twice":              {"issuers: [{name: a, url: u, audience: a}, {name: a, url: u, audience: a}]\ncallers:\n- " + good + "}", "issuers[1]: name: another issuer has it"},
		"a rate without a unit":        {"callers:\n- " + good + ", rate: 100}", "rate: want a rate such as 100/s"},
		"a rate of 0":                  {"callers:\n- " + good + ", rate: 0/s}", "rate: want a rate"},
		"a rate below 0":               {"callers:\n- " + good + ", rate: -1/s}", "rate: want a rate"},
		"a rate a day":                 {"callers:\n- " + good + ", rate: 1/d}", "rate: want a rate"},
		"a rate beyond all":            {"callers:\n- " + good + ", rate: 1000001/s}", "rate: want a rate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content := c.file + "\n"
			if name == "no end" {
				content = c.file
			}
			callers, err := caller.New([]byte(content), caller.Parts{})
			if err == nil || callers != nil {
				t.Fatalf("taken: %v", callers)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("says %q, want %q", err, c.want)
			}
			for _, secret := range []string{"canary", "kkkk", "abab", "\n"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("shows what stands in the file: %q", err)
				}
			}
		})
	}
}

func TestCallersFileTakesWhatIsAllowed(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"the least":             "callers: [" + good + "}]",
		"everything":            "callers: [{name: a, keys: [" + line + "," + other + "], certificates: [\"spiffe://example.org/ns/app/sa/backend\", CN=backend, backend.app.svc], uids: [0, 4294967295], routes: [\"*\", token], clients: [a, _, \"-\"], rate: 1000000/h}]",
		"an alias":              "callers:\n- &a " + good + "}\n- {name: b, keys: [" + other + "], routes: [token], clients: [a]}",
		"an issuer and subject": "issuers: [{name: cluster, url: https://issuer.test, audience: cstproxy, algorithms: [RS256], caFile: /a, tokenFile: /b}]\ncallers:\n- " + good + ", subjects: [{issuer: cluster, subject: \"system:serviceaccount:app:backend\"}]}",
		"a document's marks":    "---\ncallers: [" + good + "}]\n...\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := caller.New([]byte(file+"\n"), caller.Parts{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A file that is being written is seen at any length. What it says then may allow less than it will, and nobody else.
func TestPartOfAFileAllowsNoMoreThanTheWhole(t *testing.T) {
	t.Parallel()
	first, firstLine := caller.NewKey()
	second, secondLine := caller.NewKey()
	whole := "callers:\n- name: first\n  keys:\n  - " + firstLine + "\n  routes:\n  - token\n  - forget\n  clients:\n  - team-a-\n  - team-b-\n" +
		"- name: second\n  keys:\n  - " + secondLine + "\n  routes: [inspect]\n  clients:\n  - other-\n"
	taken := 0
	for length := range len(whole) + 1 {
		callers, err := caller.New([]byte(whole[:length]), caller.Parts{})
		if err != nil {
			continue
		}
		taken++
		if who, err := callers.Identify(show()); err == nil {
			t.Errorf("%d bytes: nobody is %q", length, who.Name)
		}
		for key, may := range map[string]session.Caller{
			first:  {Name: "first", Routes: []session.Route{session.RouteToken, session.RouteForget}, Clients: []string{"team-a-", "team-b-"}},
			second: {Name: "second", Routes: []session.Route{session.RouteInspect}, Clients: []string{"other-"}},
		} {
			who, err := callers.Identify(show("Authorization: Bearer " + key))
			if err != nil {
				continue
			}
			for _, client := range who.Clients {
				if !slices.Contains(may.Clients, client) {
					t.Errorf("%d bytes: %s may ask for %s…", length, who.Name, client)
				}
			}
			if who.Name != may.Name || len(who.Routes) > len(may.Routes) {
				t.Errorf("%d bytes: caller %+v", length, who)
			}
		}
	}
	if taken == 0 || taken > 4 {
		t.Errorf("%d of %d beginnings were taken", taken, len(whole)+1)
	}
}

// trusting counts how often it was asked for a Verifier, and of which issuers.
type trusting struct {
	asked [][]caller.Issuer
	given []*verifier
	err   error
}

// closed returns which of those given were closed.
func (t *trusting) closed() (which []int) {
	for i, v := range t.given {
		for range v.closed {
			which = append(which, i)
		}
	}
	return which
}

func (t *trusting) trust(issuers []caller.Issuer) (caller.Verifier, error) {
	t.asked = append(t.asked, issuers)
	t.given = append(t.given, &verifier{})
	return t.given[len(t.given)-1], t.err
}

// verifier knows tokens that say themselves whose they are: a.SUBJECT.c.
type verifier struct{ closed int }

func (v *verifier) Close() { v.closed++ }

var errBadToken = errors.New("the token is not good")

func (*verifier) Verify(_ context.Context, raw string) (caller.Identity, error) {
	_, rest, _ := strings.Cut(raw, ".")
	subject, _, _ := strings.Cut(rest, ".")
	if subject == "bad" {
		return caller.Identity{}, errBadToken
	}
	return caller.Identity{Issuer: "cluster", Subject: subject}, nil
}

func TestVerifierStaysAsLongAsTheIssuersDo(t *testing.T) {
	t.Parallel()
	file := func(audience, clients string) []byte {
		return []byte("issuers: [{name: cluster, url: https://issuer.test, audience: " + audience + "}]\ncallers: [{name: a, subjects: [{issuer: cluster, subject: s}], routes: [token], clients: [" + clients + "]}]\n")
	}
	var trusted trusting
	callers, err := caller.New(file("one", "a"), caller.Parts{Trust: trusted.trust})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := callers.Reload(file("one", "b")); err != nil {
			t.Fatal(err)
		}
	}
	if len(trusted.asked) != 1 || len(trusted.closed()) != 0 {
		t.Errorf("%d verifiers for one list of issuers, of which %v were closed", len(trusted.asked), trusted.closed())
	}
	if err := callers.Reload(file("two", "b")); err != nil || len(trusted.asked) != 2 || trusted.asked[1][0].Audience != "two" {
		t.Errorf("another issuer: error %v, asked for %v", err, trusted.asked)
	}
	trusted.err = errBadToken
	if err := callers.Reload(file("three", "b")); !errors.Is(err, errBadToken) {
		t.Errorf("error %v for issuers that can't be trusted", err)
	}
	if closed := trusted.closed(); !slices.Equal(closed, []int{0}) {
		t.Errorf("closed were %v; want the first, once another was in its place", closed)
	}
	if err := callers.Reload([]byte("callers: [{name: a, uids: [1], routes: [token], clients: [b]}]\n")); err != nil {
		t.Fatal(err)
	}
	callers.Close()
	if closed := trusted.closed(); !slices.Equal(closed, []int{0, 1}) {
		t.Errorf("closed were %v; want the second too, once no issuer was left", closed)
	}
}
