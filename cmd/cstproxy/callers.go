package main

import (
	"fmt"
	"os"
	"time"

	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/caller"
)

// openCallers returns those who may ask: whom the callers file names, or, without one, anybody on this machine.
func openCallers(config Config) (proxy.Callers, error) {
	if config.CallersFile == "" {
		return caller.Anonymous{}, nil
	}
	callers, err := readCallers(config.CallersFile)
	if err != nil {
		return nil, configError{[]string{fmt.Sprintf("CSTPROXY_CALLERS_FILE: %v", err)}}
	}
	return callers, nil
}

func readCallers(path string) (*caller.Callers, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	return caller.New(content, caller.Parts{Now: time.Now})
}

// checkCallers notes what is wrong in the callers file.
func (in *intake) checkCallers(config Config) {
	if config.CallersFile == "" {
		return
	}
	if _, err := readCallers(config.CallersFile); err != nil {
		s := *in.byVariable("CSTPROXY_CALLERS_FILE")
		in.refuse(s, s.allowed+" ("+err.Error()+")")
	}
}
