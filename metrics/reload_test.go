package metrics_test

import (
	"errors"
	"testing"

	"github.com/cstproxy/cstproxy/metrics"
)

func TestAChangedFileCountsByWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	m := metrics.New(parts())
	reloaded := m.Reloads("portal_api_key")
	wantChanges(t, m, func() { reloaded(nil) }, map[string]float64{`reloads_total{file="portal_api_key",outcome="used"}`: 1})
	wantChanges(t, m, func() { reloaded(errors.New("it is empty")) }, map[string]float64{`reloads_total{file="portal_api_key",outcome="refused"}`: 1})
}
