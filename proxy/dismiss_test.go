package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/cstproxy/cstproxy/proxy"
)

func TestAnswersEndTheirConnectionsFromTheBeginningOfTheDrain(t *testing.T) {
	t.Parallel()
	health := &proxy.Health{}
	arrived, answer := make(chan struct{}), make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			arrived <- struct{}{}
			<-answer
		}
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, "ok")
	}))
	health.Dismiss(server.Config)
	server.Start()
	t.Cleanup(server.Close)
	ends := func(path string) bool {
		response, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Error(err)
			return false
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		return response.Close
	}

	if ends("/before") {
		t.Error("an answer before the drain ends its connection")
	}
	slow := make(chan bool)
	go func() { slow <- ends("/slow") }()
	<-arrived
	health.Drain()
	close(answer)
	if !<-slow {
		t.Error("the answer of a request in flight leaves its connection open")
	}
	if !ends("/after") {
		t.Error("an answer within the drain leaves its connection open")
	}
}
