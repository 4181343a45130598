package proxy_test

import (
	"bytes"
	"maps"
	"net/http"
	"os"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

// example is an answer that the specification shows.
type example struct {
	summary string // of a problem it is the title
	cause
}

// examples :: name in the specification → how to get it
func examples() map[string]example {
	all := map[string]example{
		"token_mint":    {"Portal made it for this request.", cause{nil, fetchAlice}},
		"token_cache":   {"It was there, and live.", cause{nil, func(w *world) answer { w.kept(90 * time.Minute); return fetchAlice(w) }}},
		"token_refresh": {"Portal extended it for this request.", cause{nil, func(w *world) answer { w.kept(10 * hour); return w.get(aliceToken+"?minTtl=20h", testID) }}},
		"register":      {"A client that Portal made.", cause{nil, func(w *world) answer { return w.post("/v1/clients", `{"isAccountAbstracted":true}`, testID) }}},
		"status_live":   {"There is a live token.", cause{nil, func(w *world) answer { w.kept(90 * time.Minute); return w.get(aliceStatus, testID) }}},
		"status_absent": {"There is none.", cause{nil, func(w *world) answer { return w.get(aliceStatus, testID) }}},
	}
	for code, c := range causes() {
		all[code] = example{cause: c}
	}
	return all
}

// The examples of the specification are what the API answers, with what Portal draws at random drawn the same each time.
func TestExamplesAreRealAnswers(t *testing.T) {
	got := map[string]yaml.Node{}
	all := examples()
	for name, e := range all {
		t.Run(name, func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 1)
			got[name] = e.show(t)
		})
	}
	if t.Failed() {
		return
	}
	const path, mark = "openapi.yaml", "\n  examples:\n"
	document, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, want, found := bytes.Cut(document, []byte(mark))
	if !found {
		t.Fatalf("%s does not end with its examples", path)
	}
	shown := written(t, got)
	if *update {
		if err := os.WriteFile(path, slices.Concat(head, []byte(mark), shown), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(want), string(shown)); diff != "" {
		t.Errorf("examples (-specified +answered; write them with -update):\n%s", diff)
	}
}

// show gets the answer and returns it as an example: its summary, and its body as the value.
func (e example) show(t *testing.T) yaml.Node {
	t.Helper()
	a := e.meet(t)
	var body, shown yaml.Node
	if err := yaml.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("read %s: %v", a.body, err)
	}
	summary := e.summary
	if summary == "" {
		summary = a.problem(t).Title
	} else if a.status >= http.StatusBadRequest {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	plain(&body)
	if err := shown.Encode(map[string]any{"summary": summary, "value": body.Content[0]}); err != nil {
		t.Fatal(err)
	}
	return shown
}

// plain takes JSON's style off the node.
func plain(node *yaml.Node) {
	node.Style = 0
	for _, inner := range node.Content {
		plain(inner)
	}
}

// written returns the examples in order, as they stand in the specification.
func written(t *testing.T, all map[string]yaml.Node) []byte {
	t.Helper()
	examples := yaml.Node{Kind: yaml.MappingNode}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		node := all[name]
		examples.Content = append(examples.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, &node)
	}
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(map[string]any{"components": map[string]any{"examples": &examples}}); err != nil {
		t.Fatal(err)
	}
	_, inner, _ := bytes.Cut(text.Bytes(), []byte("\n  examples:\n"))
	return inner
}
