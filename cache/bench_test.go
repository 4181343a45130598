package cache_test

import (
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

func BenchmarkRedisLoad(b *testing.B) {
	server := redistest.Start(b)
	for name, target := range map[string]string{"port": server.URL(), "socket": server.SocketURL()} {
		b.Run(name, func(b *testing.B) { benchmarkLoad(b, open(b, target, "p")) })
	}
}

func BenchmarkMemoryLoad(b *testing.B) { benchmarkLoad(b, remember(b, time.Now)) }

func benchmarkLoad(b *testing.B, store session.Store) {
	b.Helper()
	save(b, store, newToken(alice))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if token, err := store.Load(b.Context(), alice); err != nil || token.IsZero() {
				b.Errorf("Load = %+v, %v", token, err)
				return
			}
		}
	})
}
