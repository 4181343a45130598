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
	if old.ID == token.ID { // it is committed again: what became known of it since stays known
		token.Suspect = token.Suspect || old.Suspect
		token.ActiveAt, token.Doubt = later(old.ActiveAt, token.ActiveAt), later(old.Doubt, token.Doubt)
	}
	return token
}

// newerThan compares by fence, or by the mint's date with a token that was minted without a lease.
func (t Token) newerThan(other Token) bool {
	if other.Fence == 0 {
		return t.MintedAt.After(other.MintedAt)
	}
	return t.Fence > other.Fence
}
