package metrics_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/metrics"
)

func TestAChangedFileCountsByWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New(parts())
		reloaded := m.Reloads("portal_api_key")
		began := values(t, m)
		if good, at := began[`last_reload_successful{file="portal_api_key"}`], began[`last_reload_success_timestamp_seconds{file="portal_api_key"}`]; good != 1 || at != float64(time.Now().Unix()) {
			t.Errorf("at the start it is %v, of %v; want 1, of now", good, at)
		}
		time.Sleep(time.Minute)
		wantChanges(t, m, func() { reloaded(nil) }, map[string]float64{
			`reloads_total{file="portal_api_key",outcome="used"}`: 1, `last_reload_success_timestamp_seconds{file="portal_api_key"}`: 60,
		})
		time.Sleep(time.Minute)
		wantChanges(t, m, func() { reloaded(errors.New("it is empty")) }, map[string]float64{
			`reloads_total{file="portal_api_key",outcome="refused"}`: 1, `last_reload_successful{file="portal_api_key"}`: -1,
		})
		wantChanges(t, m, func() { reloaded(nil) }, map[string]float64{
			`reloads_total{file="portal_api_key",outcome="used"}`: 1, `last_reload_successful{file="portal_api_key"}`: 1,
			`last_reload_success_timestamp_seconds{file="portal_api_key"}`: 60,
		})
	})
}
