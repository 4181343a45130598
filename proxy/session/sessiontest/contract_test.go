package sessiontest_test

import (
	"testing"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

func TestFakeKeepsTheContract(t *testing.T) {
	t.Parallel()
	fake := &sessiontest.Store{}
	t.Run("store", func(t *testing.T) {
		t.Parallel()
		sessiontest.TestStore(t, func(*testing.T) session.Store { return fake })
	})
	t.Run("leaser", func(t *testing.T) {
		t.Parallel()
		sessiontest.TestLeaser(t, func(*testing.T) sessiontest.Leasing { return fake })
	})
	t.Run("registry", func(t *testing.T) {
		t.Parallel()
		sessiontest.TestRegistry(t, func(*testing.T) session.Registry { return fake })
	})
}
