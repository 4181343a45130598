package main

import (
	"slices"

	"github.com/caarlos0/env/v11"
	"github.com/urfave/cli/v3"
)

// part is those settings that a command needs which talks to the running proxy: it must work where nothing else is set
// (a demo), right, or readable (a secret's file).
type part []string

// The settings that such commands need.
const (
	dataListen    = "CSTPROXY_LISTEN"
	dataCertFile  = "CSTPROXY_TLS_CERT_FILE"
	callerKey     = "CSTPROXY_CALLER_KEY"
	callerKeyFile = callerKey + fileSuffix
	adminListen   = "CSTPROXY_ADMIN_LISTEN"
	adminCertFile = "CSTPROXY_ADMIN_TLS_CERT_FILE"
	adminKeyFile  = "CSTPROXY_ADMIN_TLS_KEY_FILE"
)

// dataPart is what there is to know of the data API to ask it.
func dataPart() part { return part{dataListen, dataCertFile, callerKey, callerKeyFile} }

// adminPart is what there is to know of the admin port. Its key is in it because the flag goes with the certificate's.
func adminPart() part { return part{adminListen, adminCertFile, adminKeyFile} }

// flags returns a new flag for each of the settings but the secrets.
func (p part) flags() []cli.Flag {
	var flags []cli.Flag
	for _, s := range settings() {
		if s.flag != "" && slices.Contains(p, s.variable) {
			flags = append(flags, s.cliFlag())
		}
	}
	return flags
}

// load reads these settings as loadConfig reads all; the others have their defaults.
func (p part) load(environ []string, flags map[string]string) (Config, error) {
	in := newIntake(env.ToMap(environ), flags)
	in.settings = slices.DeleteFunc(in.settings, func(s setting) bool { return !slices.Contains(p, s.variable) })
	in.checkTexts()
	in.readSecrets(in.settings)
	config := in.parse()
	if err := in.err(); err != nil {
		return Config{}, err
	}
	return config, nil
}
