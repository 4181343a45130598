package portaltest_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

func TestV1ListsEveryClientWithItsKey(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	if w := send(portal, http.MethodGet, registerV1, portaltest.DefaultKey, ""); w.Code != http.StatusOK || w.Body.String() != "[]" {
		t.Errorf("without clients: %d %s", w.Code, w.Body)
	}
	want := []map[string]any{}
	for range 2 {
		made := object(t, post(portal, registerV1, portaltest.DefaultKey, "{}"), http.StatusCreated)
		want = append(want, map[string]any{"id": made["id"], "clientApiKey": made["clientApiKey"], "isAccountAbstracted": false})
	}
	var got []map[string]any
	w := send(portal, http.MethodGet, registerV1, portaltest.DefaultKey, "")
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("clients (-want +got):\n%s", diff)
	}
}

func TestAClientIsManagedWithThePortalAPIKey(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	made := object(t, post(portal, registerV1, portaltest.DefaultKey, "{}"), http.StatusCreated)
	const until = "2026-11-22T05:24:55Z" // five minutes after the epoch
	hidden := map[string]any{"id": made["id"], "clientApiKey": made["clientApiKey"], "isAccountAbstracted": false}
	prepared := map[string]any{"ejectableUntil": until, "wallet": map[string]any{"shares": []any{map[string]any{"client": hidden}}}}
	for name, tc := range map[string]struct {
		method, before, after string
		want                  any // nil: a new one-time password
	}{
		"web-otps, in v3":      {http.MethodPost, registerV3, "/web-otps", nil},
		"web-otp":              {http.MethodGet, registerV1, "/web-otp", nil},
		"web-otp, by POST":     {http.MethodPost, registerV1, "/web-otp", nil},
		"enable-eject":         {http.MethodPatch, registerV3, "/enable-eject", map[string]any{"ejectableUntil": until}},
		"prepare-eject":        {http.MethodPost, registerV3, "/prepare-eject", until},
		"prepare-eject, in v1": {http.MethodPost, registerV1, "/prepare-eject", prepared},
	} {
		t.Run(name, func(t *testing.T) {
			manage := func(id string) (status int, doc any) {
				w := send(portal, tc.method, tc.before+"/"+id+tc.after, portaltest.DefaultKey, `{"walletId":"w"}`)
				if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
					t.Fatal(err)
				}
				return w.Code, doc
			}
			status, doc := manage(text(t, made, "id"))
			want := tc.want
			if want == nil {
				doc, _ := doc.(map[string]any)
				want = map[string]any{"id": made["id"], "otp": text(t, doc, "otp")}
			}
			if diff := cmp.Diff(want, doc); status != http.StatusOK || diff != "" {
				t.Errorf("%d (-want +got):\n%s", status, diff)
			}
			if status, _ := manage("unknown"); status != http.StatusNotFound {
				t.Errorf("of a client that was never made: %d", status)
			}
		})
	}
	if n := len(portal.Arrivals(portaltest.Manage)); n != 12 {
		t.Errorf("%d arrivals", n)
	}
}
