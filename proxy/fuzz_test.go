package proxy_test

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

func FuzzTokenRoute(f *testing.F) {
	for _, target := range []string{
		aliceToken, aliceToken + "?minTtl=2h", aliceToken + "?minTtl=25h", aliceToken + "?rejected=" + otherID, aliceToken + "?x=%zz", aliceToken + "/",
		"/v1/clients//token", "/v1/clients/../token", "/v1/clients/%2e%2e/token", "/v1/clients/a%2fb/token", "/v1/clients/a%00b/token",
		"/v1/clients/%61/token", "/v1/clients/" + strings.Repeat("a", 129) + "/token", "//v1/clients/a/token", "/v1/clients/a/token/../x",
		"http://elsewhere.example" + aliceToken, "/v1/clients/алиса/token", "/v1/clients/a;b/token", "/v1/clients/:clientId/token", "*", "/",
		"/v1/clients/a%0d%0aX-Injected:%20yes/token?minTtl=%0d%0a", aliceStatus, "/v1/clients", v1Session,
	} {
		f.Add(target)
	}
	fake := &sessiontest.Store{}
	store := &counted{Store: fake, Registry: fake}
	log := &logbook{}
	broker := session.NewBroker(session.Parts{
		Store: store, Leaser: fake, Registry: store, Portal: &sessiontest.Portal{Lifetime: lifetime(), Now: time.Now}, Lifetime: lifetime(),
		StoreDown: session.StoreDownFail, Deadline: 10 * time.Second, Now: time.Now, Sent: time.Now,
		Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	f.Cleanup(func() { broker.Close(f.Context()) })
	data := proxy.New(proxy.Parts{Callers: caller.Anonymous{}, Broker: broker, Lifetime: lifetime(), Meter: silent{}, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, target string) {
		where, err := url.ParseRequestURI(target) // as net/http reads it
		if err != nil {
			t.Skip("net/http refuses it")
		}
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		request.URL, request.RequestURI, request.Host = where, target, cmp.Or(where.Host, "localhost")
		recorder := httptest.NewRecorder()
		before := store.touched.Load()
		data.ServeHTTP(recorder, request)
		touched := store.touched.Load() - before
		refused := recorder.Code >= 400 && recorder.Code <= 499
		if recorder.Code != http.StatusOK && !refused {
			t.Errorf("status %d: %s", recorder.Code, recorder.Body)
		}
		if refused && touched != 0 {
			t.Errorf("the store was touched %d times before the answer %d", touched, recorder.Code)
		}
		if recorder.Header().Get("Cache-Control") != "no-store" || recorder.Header().Get("X-Injected") != "" {
			t.Errorf("header %v", recorder.Header())
		}
		if !json.Valid(recorder.Body.Bytes()) {
			t.Errorf("not JSON: %s", recorder.Body)
		}
		if log.String() != "" {
			t.Errorf("logged as trouble: %s", log)
		}
	})
}
