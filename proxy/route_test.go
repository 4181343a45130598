package proxy_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/cstproxy/cstproxy/proxy"
)

func TestEveryRouteAndEveryProblemIsAmongTheAnswers(t *testing.T) {
	t.Parallel()
	places, statuses := map[string]bool{}, map[int]bool{}
	for _, a := range proxy.Answers() {
		places[a.Method+" "+a.Route], statuses[a.Status] = true, true
	}
	for _, route := range newWorld(t).api.Routes() {
		if !places[route] {
			t.Errorf("no answer of %s is listed", route)
		}
	}
	for _, status := range append(proxy.Statuses(), 499) {
		if status == http.StatusNotImplemented {
			continue // of what is passed on, which is counted by itself
		}
		if !statuses[status] {
			t.Errorf("no answer of %d is listed", status)
		}
	}
}

func TestAnswersAreListedOnce(t *testing.T) {
	t.Parallel()
	answers := proxy.Answers()
	for i, a := range answers {
		if slices.Contains(answers[:i], a) {
			t.Errorf("%+v is listed twice", a)
		}
	}
	if len(answers) > 120 {
		t.Errorf("%d answers are listed: each is a dozen series", len(answers))
	}
}
