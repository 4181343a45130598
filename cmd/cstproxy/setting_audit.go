package main

import (
	"path"
	"strings"
)

// The kinds of audit.
const (
	auditOff  = "off"
	auditLog  = "log"
	auditFile = "file"

	filePrefix = auditFile + ":"
)

// auditTarget says where the audit goes. The zero auditTarget is none that can be set.
type auditTarget struct {
	Kind string
	Path string // of a file
}

// UnmarshalText reads off, log or file:/path.
func (t *auditTarget) UnmarshalText(text []byte) error {
	file, isFile := strings.CutPrefix(string(text), filePrefix)
	switch {
	case isFile && path.IsAbs(file) && !strings.HasSuffix(file, "/"):
		*t = auditTarget{auditFile, path.Clean(file)}
	case string(text) == auditOff, string(text) == auditLog:
		*t = auditTarget{Kind: string(text)}
	default:
		return errNotAllowed
	}
	return nil
}

// String returns what UnmarshalText reads.
func (t auditTarget) String() string {
	if t.Kind == auditFile {
		return filePrefix + t.Path
	}
	return t.Kind
}
