package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// ownPrefix begins every variable that is the proxy's alone.
const ownPrefix = "CSTPROXY_"

// Kubernetes puts these into every container of a namespace with a Service whose name begins with "cstproxy"
// (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables). CSTPROXY_PORT has a name
// that an operator might try as well, so there the value decides.
var (
	serviceVariables = regexp.MustCompile(`\ACSTPROXY(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)\z`)
	servicePorts     = regexp.MustCompile(`\ACSTPROXY(_[A-Z0-9_]+)?_PORT=(tcp|udp|sctp)://`)
)

// refuseStrangers notes every variable that looks like a setting and is none. Its value is not shown: who mistypes a
// name may have put a secret there.
func (in *intake) refuseStrangers(environment map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		if in.isStranger(name, environment[name]) {
			problem := fmt.Sprintf("%s is not a setting; did you mean %s?", name, in.nearest(name))
			in.strangers = append(in.strangers, problem)
		}
	}
}

func (in *intake) isStranger(name, value string) bool {
	if !strings.HasPrefix(name, ownPrefix) || value == "" || isService(name, value) {
		return false
	}
	return !slices.ContainsFunc(in.settings, func(s setting) bool { return s.variable == name })
}

func isService(name, value string) bool {
	return serviceVariables.MatchString(name) || servicePorts.MatchString(name+"="+value)
}

// nearest returns the variable that differs least from name. The prefix does not count, because some settings have
// it and some do not: CSTPROXY_REDIS_URL is meant to be REDIS_URL.
func (in *intake) nearest(name string) string {
	distance := func(s setting) int {
		return levenshtein.ComputeDistance(strings.TrimPrefix(s.variable, ownPrefix), strings.TrimPrefix(name, ownPrefix))
	}
	closest := slices.MinFunc(in.settings, func(a, b setting) int { return distance(a) - distance(b) })
	return closest.variable
}
