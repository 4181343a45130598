package session

import "time"

// Source says how a granted token came to be granted.
type Source string

// The sources.
const (
	SourceCache   Source = "cache"   // it was there and long enough
	SourceRefresh Source = "refresh" // Portal extended it for this caller
	SourceMint    Source = "mint"    // Portal made it for this caller
)

// Sources lists every Source, for those who count by it.
func Sources() []Source { return []Source{SourceCache, SourceRefresh, SourceMint} }

// Scope says how far a request to Portal was shared.
type Scope string

// The scopes; the zero Scope is a request that was not shared.
const (
	ScopeProcess Scope = "process" // with a caller of this replica
	ScopeFleet   Scope = "fleet"   // with a caller of another
)

// Scopes lists every Scope, for those who count by it.
func Scopes() []Scope { return []Scope{ScopeProcess, ScopeFleet} }

// Grant is a token handed out.
type Grant struct {
	Token  Token
	Source Source
	// Reason is why it was minted, if it was.
	Reason Reason
	// Shared says with whom it was shared, if another caller's request to Portal brought it.
	Shared Scope
	// At is the moment of the grant, by the Broker's clock.
	At time.Time
	// instead is the token in whose place it was minted, if that was rejected.
	instead TokenID
	// open: an attempt before the one that brought it may be carried out yet.
	open bool
}
