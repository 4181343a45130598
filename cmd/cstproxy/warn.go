package main

import (
	"log/slog"
	"net"
	"os"
	"reflect"
	"strings"
)

// readableByOthers is the permission that a secret's file should not give. Its group is not minded: that is how
// Kubernetes hands a file to a process that is not root (fsGroup).
const readableByOthers = 0o004

// warn says loudly what works, and should not stay so.
func warn(config Config, log *slog.Logger) {
	for _, file := range secretFiles(config) {
		info, err := os.Stat(file)
		if err == nil && info.Mode().Perm()&readableByOthers != 0 {
			log.Warn("file of a secret is readable by everybody on this machine", "file", file, "mode", info.Mode().Perm().String())
		}
	}
	if config.CollectorURL.isOpen() && !config.CollectorHeaders.IsZero() {
		log.Warn("collector is sent its headers WITHOUT TLS: they cross the network in clear", "url", string(config.CollectorURL))
	}
	for _, at := range []baseURL{config.PortalAPIURL, config.PortalMPCURL} {
		if at.isOpen() {
			log.Warn("Portal is asked WITHOUT TLS: its keys and tokens cross the network in clear", "url", string(at))
		}
	}
}

// secretFiles returns every file that a setting names and that is not meant for everybody.
func secretFiles(config Config) []string {
	var files []string
	for _, s := range settings() {
		file := reflect.ValueOf(config).FieldByName(s.field)
		if s.isPathOfSecret() && !s.public && file.String() != "" {
			files = append(files, file.String())
		}
	}
	return files
}

// isOpen reports whether what is sent to the URL can be read on the way: it leaves this machine without TLS.
func (u baseURL) isOpen() bool {
	parsed := u.parsed()
	return parsed.Scheme == "http" && !isLoopback(parsed.Hostname())
}

// isLoopback reports whether the host is this machine, whatever a name server says (RFC 6761 section 6.3 for the name).
func isLoopback(host string) bool {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || net.ParseIP(host).IsLoopback()
}
