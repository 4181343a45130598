package cache

import (
	"context"
	"errors"
	"net"

	"github.com/redis/go-redis/v9"
)

// once is a hook for the nodes of a cluster client. That client sends a command again when the connection breaks under
// it, as often as it follows redirects and whatever its MaxRetries say; the node may have carried it out.
type once struct{}

func (once) DialHook(next redis.DialHook) redis.DialHook { return next }

func (once) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (once) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err == nil || answered(err) || unsent(err) || ctx.Err() != nil {
			return err
		}
		return finalError{err}
	}
}

// answered reports whether err is a node's answer, such as a redirect.
func answered(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok
}

// unsent reports whether err came before there was a connection.
func unsent(err error) bool {
	operation, ok := errors.AsType[*net.OpError](err)
	return ok && operation.Op == "dial"
}

// finalError is an error that the client can't look into, so it takes it for none of those that it tries again after.
type finalError struct{ error }
