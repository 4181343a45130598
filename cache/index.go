package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// mostDue bounds the tokens that wait to be noted. What is left out is noted when it is seen again.
const mostDue = 1024

// IndexParts is what an [Index] is made of. Every field is required but Shared.
type IndexParts struct {
	Store session.Store
	// Shared keeps the index for the fleet; nil keeps it in this process.
	Shared   *Redis
	Lifetime session.Lifetime
	// Entries bounds what is remembered here; the oldest go first.
	Entries int
}

// Index is a store that notes whose each token is that it keeps, so that a token alone tells its client. It is a
// [session.Index]. What it says is a hint: the client may have another token by now. What was lost of it, or could not be
// noted, is noted when the token is seen again.
type Index struct {
	session.Store
	parts IndexParts
	// owners are those of tokens that this replica saw lately.
	owners *owners
	due    chan session.Token
}

// owner is a token's client. shared: the fleet was told.
type owner struct {
	client session.ClientID
	shared bool
}

// owners remembers the owners of tokens for a while: for half of lasts at least, unless there are more than most. It is two
// maps of which the older goes when the younger is full, or of age: what it forgets too early is noted again. It is safe for
// concurrent use.
type owners struct {
	most  int
	lasts time.Duration

	mu         sync.RWMutex
	turned     time.Time
	young, old map[session.TokenID]owner
}

func (o *owners) get(id session.TokenID) (owner, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if time.Since(o.turned) >= o.lasts {
		return owner{}, false
	}
	if known, ok := o.young[id]; ok {
		return known, true
	}
	known, ok := o.old[id]
	return known, ok
}

func (o *owners) set(id session.TokenID, is owner) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if age := time.Since(o.turned); o.young == nil || age >= o.lasts/2 || len(o.young) >= max(o.most/2, 1) {
		o.old = o.young
		if age >= o.lasts {
			o.old = nil
		}
		o.young, o.turned = map[session.TokenID]owner{}, time.Now()
	}
	o.young[id] = is
}

func (o *owners) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.young, o.old = nil, nil
}

// NewIndex returns an empty Index.
func NewIndex(parts IndexParts) *Index {
	// Half of both at least is kept, and there is nowhere else to look.
	lasts, most := 2*keptAtMost(parts.Lifetime), 2*parts.Entries
	if parts.Shared != nil {
		most = parts.Entries
		lasts = parts.Lifetime.IdleTTL / 24 // then it is noted anew: it may be lost there, or sealed with a key that is gone
	}
	return &Index{
		Store: parts.Store, parts: parts, due: make(chan session.Token, mostDue),
		owners: &owners{most: most, lasts: lasts},
	}
}

// Run notes what was seen, behind the back of who asked for it, until ctx ends.
func (i *Index) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case token := <-i.due:
			i.catchUp(ctx, token)
		}
	}
}

// catchUp notes a token unless that was done meanwhile. If it fails, it is tried again when the token is seen again.
func (i *Index) catchUp(ctx context.Context, token session.Token) {
	if known, ok := i.owners.get(token.ID); !ok || !known.shared {
		_ = i.note(ctx, token)
	}
}

// Lost says that the fleet's index may be lost: everything is noted anew when it is seen.
func (i *Index) Lost() { i.owners.forget() }

// Client implements [session.Index].
func (i *Index) Client(ctx context.Context, id session.TokenID) (session.ClientID, error) {
	if known, ok := i.owners.get(id); ok {
		return known.client, nil
	}
	if i.parts.Shared == nil {
		return "", nil
	}
	client, err := i.parts.Shared.whose(ctx, id)
	if err == nil && client != "" {
		i.owners.set(id, owner{client, true})
	}
	return client, err
}

// Load implements [session.Store].
func (i *Index) Load(ctx context.Context, client session.ClientID) (session.Token, error) {
	token, err := i.Store.Load(ctx, client)
	i.see(token)
	return token, err
}

// Look implements [session.Store].
func (i *Index) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	token, err := i.Store.Look(ctx, client)
	i.see(token)
	return token, err
}

// Commit implements [session.Store]. A token can be found before it is handed out, if the fleet can be told.
func (i *Index) Commit(ctx context.Context, token session.Token, seen uint64) (session.Token, error) {
	kept, err := i.Store.Commit(ctx, token, seen)
	if !kept.IsZero() && err == nil {
		if noted := i.note(ctx, kept); noted == nil {
			return kept, nil
		}
	}
	i.see(kept)
	return kept, err
}

// see notes a token that was not noted yet, without waiting for that.
func (i *Index) see(token session.Token) {
	if token.IsZero() {
		return
	}
	known, ok := i.owners.get(token.ID)
	if ok && known.shared {
		return
	}
	if !ok {
		i.owners.set(token.ID, owner{token.Client, i.parts.Shared == nil})
	}
	if i.parts.Shared == nil {
		return
	}
	select {
	case i.due <- token:
	default:
	}
}

func (i *Index) note(ctx context.Context, token session.Token) error {
	if i.parts.Shared != nil {
		if err := i.parts.Shared.noteOwner(ctx, token); err != nil {
			return err
		}
	}
	i.owners.set(token.ID, owner{token.Client, true})
	return nil
}

// keptAtMost is for how long a token may be kept from when it is seen.
func keptAtMost(l session.Lifetime) time.Duration { return l.RefreshWindow + l.IdleTTL }

// noteOwner notes for the fleet whose the token is. Whose it is lies there sealed.
func (r *Redis) noteOwner(ctx context.Context, token session.Token) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	letter, err := r.parts.Seal.letter(token.Client)
	if err == nil {
		err = r.parts.Client.Set(ctx, r.ownerKey(token.ID), letter, keptAtMost(r.parts.Lifetime)).Err()
	}
	if err != nil {
		return fmt.Errorf("note whose a token is: %w", err)
	}
	return nil
}

// whose returns the client that was noted, or "".
func (r *Redis) whose(ctx context.Context, id session.TokenID) (session.ClientID, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	letter, err := r.parts.Client.Get(ctx, r.ownerKey(id)).Result()
	switch {
	case errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "WRONGTYPE"):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("find whose a token is: %w", err)
	}
	client, err := r.parts.Seal.address(letter)
	if err != nil {
		r.parts.Unreadable()
		return "", nil // it is counted, and is as good as none
	}
	return client, nil
}

func (r *Redis) ownerKey(id session.TokenID) string { return r.parts.Prefix + ":owner:" + id.String() }
