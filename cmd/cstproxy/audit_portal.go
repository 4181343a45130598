package main

import (
	"context"
	"errors"

	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// audited has a line for each token that Portal makes or refuses, even if whoever asked has left. It changes no answer:
// what is not on record is not handed out either.
type audited struct {
	session.Portal
	audit *audit
}

// portal returns next with an audit, if there is one.
func (a *audit) portal(next session.Portal) session.Portal {
	if a == nil {
		return next
	}
	return audited{next, a}
}

// Mint implements [session.Portal].
func (p audited) Mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	token, err := p.Portal.Mint(ctx, client, reason)
	if err == nil {
		p.record(ctx, proxy.Entry{Event: proxy.EventMinted, Client: client, TokenID: token.ID, Reason: reason})
	}
	return token, err
}

// Probe implements [session.Portal].
func (p audited) Probe(ctx context.Context, token session.Token) error {
	err := p.Portal.Probe(ctx, token)
	if errors.Is(err, session.ErrTokenRejected) {
		p.record(ctx, proxy.Entry{Event: proxy.EventRejected, Client: token.Client, TokenID: token.ID})
	}
	return err
}

// Register implements [session.Portal].
func (p audited) Register(ctx context.Context, registration session.Registration) (session.Token, error) {
	token, err := p.Portal.Register(ctx, registration)
	if err == nil {
		p.record(ctx, proxy.Entry{Event: proxy.EventRegistered, Client: token.Client, TokenID: token.ID})
	}
	return token, err
}

func (p audited) record(ctx context.Context, entry proxy.Entry) {
	entry.Caller, entry.RequestID = proxy.AskedBy(ctx)
	_ = p.audit.Record(ctx, entry)
}
