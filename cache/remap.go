package cache

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// remap is a hook for a cluster client. That client learns who serves which slot from answers, and a node that died gives
// none: for up to a minute it would go on dialing that one, though a replica has long taken over. So it asks anew for the
// map, behind, after whatever got no answer. It hooks the client and not its nodes, whose hooks that question goes through.
type remap struct{ cluster *redis.ClusterClient }

func (remap) DialHook(next redis.DialHook) redis.DialHook { return next }

func (remap) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (r remap) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err != nil && !answered(err) && !errors.Is(err, context.Canceled) {
			r.cluster.ReloadState(ctx)
		}
		return err
	}
}
