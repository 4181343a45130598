package cache

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// anew is a hook that has a command tried once more when Redis refused the login, and there is another by then. It was not
// carried out: the connection that it needs was never open to it.
type anew struct{ access *Access }

// DialHook implements [redis.Hook].
func (anew) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements [redis.Hook].
func (h anew) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return h.try(func() error { return next(ctx, cmd) }, cmd)
	}
}

// ProcessPipelineHook implements [redis.Hook].
func (h anew) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return h.try(func() error { return next(ctx, cmds) }, cmds...)
	}
}

// try runs the command, and once more if need be. A greeting holds the login that was refused: what needs the connection is
// tried once more, and a subscription, which comes by here with its greeting alone, tries by itself.
func (h anew) try(run func() error, cmds ...redis.Cmder) error {
	before := h.access.now()
	err := run()
	if !redis.IsAuthError(err) {
		return err
	}
	h.access.Refused()
	if now := h.access.now(); greets(cmds[0]) || now.equal(before) {
		return err
	}
	for _, cmd := range cmds {
		cmd.SetErr(nil)
	}
	return run()
}

func (l login) equal(other login) bool {
	return l.username.Equal(other.username) && l.password.Equal(other.password)
}

// greets reports whether a command is of those that go-redis says first on a connection, which come by the hooks too: inside
// the command that needs the connection, or for a subscription. Nobody else says any of them.
func greets(cmd redis.Cmder) bool {
	switch cmd.Name() {
	case "hello", "auth", "select", "readonly", "client":
		return true
	}
	return false
}
