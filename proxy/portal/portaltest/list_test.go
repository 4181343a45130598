package portaltest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

func list(h http.Handler, query string) *httptest.ResponseRecorder {
	return send(h, http.MethodGet, registerV3+query, portaltest.DefaultKey, "")
}

func TestListTellsAPageOfClientsWithoutTheirKeys(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	for _, id := range []string{"c", "a", "b"} {
		portal.AddClient(id)
	}
	page := func(cursor string, take float64, ids ...string) map[string]any {
		results := []any{}
		for _, id := range ids {
			results = append(results, map[string]any{"id": id, "isAccountAbstracted": false})
		}
		return map[string]any{"results": results, "metadata": map[string]any{"cursor": cursor, "take": take, "total": 3.0}}
	}
	for name, tc := range map[string]struct {
		query string
		want  map[string]any
	}{
		"all, oldest first":           {"", page("", 100, "c", "a", "b")},
		"the first":                   {"?take=1", page("c", 1, "c")},
		"an empty cursor is none":     {"?cursor=&take=2", page("a", 2, "c", "a")},
		"what comes after the cursor": {"?cursor=c&take=1", page("a", 1, "a")},
		"the last":                    {"?cursor=a&take=1", page("", 1, "b")},
		"just all":                    {"?take=3", page("", 3, "c", "a", "b")},
		"nothing after the last":      {"?cursor=b", page("", 100)},
		"as many as it takes":         {"?take=100", page("", 100, "c", "a", "b")},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, object(t, list(portal, tc.query), http.StatusOK)); diff != "" {
				t.Errorf("page (-want +got):\n%s", diff)
			}
		})
	}
}

func TestListWithoutClientsIsEmpty(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	w := list(portal, "?take=1")
	if want := `{"results":[],"metadata":{"cursor":"","take":1,"total":0}}`; w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestListRefusesWhatItCannotPage(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	portal.AddClient(alice)
	for name, query := range map[string]string{
		"more than a page holds": "?take=101", "none": "?take=0", "less than none": "?take=-1",
		"no number": "?take=all", "a cursor that is nobody's": "?cursor=bob",
	} {
		t.Run(name, func(t *testing.T) {
			object(t, list(portal, query), http.StatusBadRequest)
		})
	}
}

func TestClientIsListedOnceHoweverItWasMade(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
	registered := object(t, post(portal, registerV1, portaltest.DefaultKey, `{"isAccountAbstracted":true}`), 201)
	mint(t, portal, alice)
	mint(t, portal, alice)
	portal.AddClient(alice)
	want := []any{
		map[string]any{"id": registered["id"], "isAccountAbstracted": true},
		map[string]any{"id": alice, "isAccountAbstracted": false},
	}
	if diff := cmp.Diff(want, object(t, list(portal, ""), 200)["results"]); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

func TestListMeetsFaultsOfItsOwnAndOfAll(t *testing.T) {
	for _, operation := range []portaltest.Operation{portaltest.List, portaltest.All} {
		for _, status := range []int{401, 503} {
			t.Run(fmt.Sprintf("%s: %d", operation, status), func(t *testing.T) {
				portal, _ := newPortal(t, portaltest.Options{})
				portal.Inject(operation, portaltest.Fault{Kind: portaltest.Status, Status: status})
				object(t, list(portal, ""), status)
				if n := len(portal.Arrivals(portaltest.List)); n != 1 || portal.Stats().Faulted != 1 {
					t.Errorf("%d arrivals, stats = %+v", n, portal.Stats())
				}
			})
		}
	}
	portal, _ := newPortal(t, portaltest.Options{})
	portal.Inject(portaltest.Read, portaltest.Fault{Kind: portaltest.Status, Status: 503})
	object(t, list(portal, ""), 200)
}
