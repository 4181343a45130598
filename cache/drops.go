package cache

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// drops counts, for each client, the times that what is remembered of it became old, together with few others: else a look would
// be forgotten for each change of anybody's token that is heard meanwhile, and while the store fails its client be minted for.
type drops struct {
	seed   maphash.Seed
	counts [256]atomic.Uint64
}

func (d *drops) of(client session.ClientID) *atomic.Uint64 {
	return &d.counts[maphash.String(d.seed, string(client))%uint64(len(d.counts))]
}
