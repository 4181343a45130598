package main

import (
	"errors"
	"strings"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// The names by which log and metrics call the files that open Redis.
const (
	fileOfRedisURL         = "redis_url"
	fileOfRedisUsername    = "redis_username"
	fileOfRedisPassword    = "redis_password"
	fileOfRedisCA          = "redis_ca"
	fileOfRedisCertificate = "redis_certificate"
)

// openAccess returns what opens the Redis that config names, as its files have it at each moment.
func openAccess(config Config, files *watch) (*cache.Access, error) {
	access, err := cache.NewAccess(config.RedisURL)
	if err != nil {
		return nil, configError{[]string{"REDIS_URL: " + err.Error()}}
	}
	access.TakeUsername(config.RedisUsername)
	access.TakePassword(config.RedisPassword)
	logins, err := addLogins(config, files, access)
	if err != nil {
		return nil, err
	}
	access.Refused = func() {
		for _, login := range logins {
			login.reread()
		}
	}
	if _, err := files.add(fileOfRedisCA, config.RedisCAFile, access.TakeRoots); err != nil {
		return nil, err
	}
	pair := [2]string{config.RedisCertFile, config.RedisKeyFile}
	if _, err := files.addPair(fileOfRedisCertificate, pair, access.TakeCertificate); err != nil {
		return nil, err
	}
	return access, nil
}

// addLogins watches the files that hold a user or a password.
func addLogins(config Config, files *watch, access *cache.Access) (logins []*watched, err error) {
	for _, login := range []struct {
		name, file string
		take       func(session.Secret) error
	}{
		{fileOfRedisURL, config.RedisURLFile, access.TakeURL},
		{fileOfRedisUsername, config.RedisUsernameFile, never(access.TakeUsername)},
		{fileOfRedisPassword, config.RedisPasswordFile, never(access.TakePassword)},
	} {
		added, err := files.add(login.name, login.file, secretLine(login.take))
		if err != nil {
			return nil, err
		}
		logins = append(logins, added)
	}
	return logins, nil
}

// never makes take one that never fails.
func never(take func(session.Secret)) func(session.Secret) error {
	return func(secret session.Secret) error {
		take(secret)
		return nil
	}
}

// secretLine has take be given the secret that a file holds, without the newline at its end.
func secretLine(take func(session.Secret) error) func(content []byte) error {
	return func(content []byte) error {
		text := strings.TrimRight(string(content), "\r\n")
		if fault := faultOf(setting{}, text); fault != "" {
			return errors.New(fault)
		}
		return take(session.NewSecret(text))
	}
}
