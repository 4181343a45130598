package portal

import "context"

type asked struct{}

// asking notes what is asked of Portal, for what wraps the transport.
func (c *Client) asking(ctx context.Context, operation operation) context.Context {
	if c.parts.Wrap == nil {
		return ctx
	}
	return context.WithValue(ctx, asked{}, operation)
}

// Asked returns what the request with this context asks of Portal, in a word: of a closed set.
func Asked(ctx context.Context) string {
	switch of, _ := ctx.Value(asked{}).(operation); of {
	case mint:
		return "mint"
	case register:
		return "register"
	case probe:
		return "refresh"
	case check:
		return "key check"
	}
	return "request"
}
