package cache

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// read returns the token of client in a record that Redis sent; old says that it is to be sealed anew. What is no such record
// is counted, and if it may be the reply to another question the connections are let go of.
func (r *Redis) read(client session.ClientID, record string) (token session.Token, old bool, err error) {
	token, old, err = r.parts.Seal.decode(client, record)
	if err == nil {
		return token, old, nil
	}
	r.parts.Unreadable()
	if r.parts.Seal.misplaced(client, record) {
		r.links.drop()
	}
	return session.Token{}, false, err
}

// noRecord counts a value that can't be a record.
func (r *Redis) noRecord() error {
	r.parts.Unreadable()
	return unreadable("it is no string")
}

// outOfStep counts a reply that is another question's, and lets go of the connections.
func (r *Redis) outOfStep() error {
	r.parts.Unreadable()
	r.links.drop()
	return errOddAnswer
}

// answer returns what a script returned, as what it returns. Another kind of thing is another question's.
func answer[T any](r *Redis, script *redis.Cmd, as func(*redis.Cmd) (T, error)) (T, error) {
	if err := script.Err(); err != nil {
		var none T
		return none, err
	}
	value, err := as(script)
	if err != nil {
		return value, r.outOfStep()
	}
	return value, nil
}

// reseal has the key that seals now seal a record that another one did, so that the other can be retired. If that fails, the
// next who reads it tries again.
func (r *Redis) reseal(ctx context.Context, client session.ClientID, record string) {
	text, _, err := r.parts.Seal.openSecret(client, record)
	if err != nil {
		return
	}
	sealed, err := r.parts.Seal.seal(text, kindToken, string(client), record[:offsetMinted])
	if err != nil {
		return
	}
	_ = resealScript.Run(ctx, r.parts.Client, []string{r.tokenKey(client)}, record[offsetSealed:], sealed).Err()
}
