package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/caller/oidc"
)

// fileOfCallers is the name by which log and metrics call the file that says who may ask.
const fileOfCallers = "callers"

// openCallers returns those who may ask: whom the callers file names at each moment, or, without one, anybody on this
// machine.
func openCallers(config Config, files *watch) (proxy.Callers, error) {
	if config.CallersFile == "" {
		return caller.Anonymous{}, nil
	}
	var callers *caller.Callers
	parts := caller.Parts{Now: time.Now, Trust: (&trust{log: files.log}).issuers}
	_, err := files.add(fileOfCallers, config.CallersFile, func(content []byte) (err error) {
		if callers != nil {
			return callers.Reload(content)
		}
		callers, err = caller.New(content, parts)
		return err
	})
	if err != nil {
		return nil, configError{[]string{fmt.Sprintf("CSTPROXY_CALLERS_FILE: %v", err)}}
	}
	return callers, nil
}

// checkCallers notes what is wrong in the callers file. No issuer is asked.
func (in *intake) checkCallers(config Config) {
	if config.CallersFile == "" {
		return
	}
	content, err := os.ReadFile(config.CallersFile)
	if err != nil {
		err = withoutPath(err)
	} else {
		_, err = caller.New(content, caller.Parts{Now: time.Now, Trust: checkIssuers})
	}
	if err != nil {
		s := *in.byVariable("CSTPROXY_CALLERS_FILE")
		in.refuse(s, s.allowed+" ("+err.Error()+")")
	}
}

func checkIssuers(issuers []caller.Issuer) (caller.Verifier, error) {
	return nil, oidc.Check(trusted(issuers))
}

func trusted(issuers []caller.Issuer) []oidc.Issuer {
	list := make([]oidc.Issuer, 0, len(issuers))
	for _, i := range issuers {
		list = append(list, oidc.Issuer(i))
	}
	return list
}

// trust is in the issuers that the callers file names.
type trust struct {
	log    *slog.Logger
	latest *oidc.Verifier
}

// issuers is [caller.Parts].Trust.
func (t *trust) issuers(issuers []caller.Issuer) (caller.Verifier, error) {
	verifier, err := oidc.New(oidc.Parts{Issuers: trusted(issuers), Now: time.Now, Log: t.log})
	if err != nil {
		return nil, err
	}
	if t.latest != nil {
		verifier.Inherit(t.latest)
	}
	t.latest = verifier
	return tokens{verifier, t}, nil
}

// tokens are those of the issuers.
type tokens struct {
	verifier *oidc.Verifier
	trust    *trust
}

// Close implements [caller.Verifier]. Nobody inherits keys of issuers that nobody trusted in between.
func (t tokens) Close() {
	t.verifier.Close()
	if t.trust.latest == t.verifier {
		t.trust.latest = nil
	}
}

// Verify implements [caller.Verifier].
func (t tokens) Verify(ctx context.Context, raw string) (caller.Identity, error) {
	identity, err := t.verifier.Verify(ctx, raw)
	return caller.Identity(identity), err
}
