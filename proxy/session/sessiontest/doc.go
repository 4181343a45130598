// Package sessiontest has fakes that behave for the ports of package session, and the contract that every
// implementation of [session.Store] and [session.Registry] must pass.
package sessiontest
