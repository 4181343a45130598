package session

// Kept says what a store keeps when token is committed where old is kept: it is pure, and every store does the same.
// seen is the fence of what was kept when token's lease was taken, and latest the fence of the latest lease, or of a commit
// without one since. Where two
// mints ran at once the token that is kept is suspect: Portal does not say whether a mint kills a client's older tokens,
// nor in which order it saw the two.
func Kept(old, token Token, seen, latest uint64) Token {
	another := !old.IsZero() && old.ID != token.ID
	if another && old.newerThan(token) {
		old.Suspect = true
		return old
	}
	alone := token.Fence == 0
	token.Suspect = token.Suspect || (!alone && latest > token.Fence) || (another && (alone || old.Fence != seen))
	token.Fence = max(token.Fence, old.Fence)
	if old.ID == token.ID {
		return token.again(old)
	}
	return token
}

// again is a token that is committed again, where it is kept as old: what became known of it since stays known.
func (t Token) again(old Token) Token {
	t.Suspect = t.Suspect || old.Suspect
	t.ActiveAt, t.Doubt = later(old.ActiveAt, t.ActiveAt), later(old.Doubt, t.Doubt)
	return t
}

// newerThan compares by fence, or by the mint's date with a token that was minted without a lease.
func (t Token) newerThan(other Token) bool {
	if other.Fence == 0 {
		return t.MintedAt.After(other.MintedAt)
	}
	return t.Fence > other.Fence
}
