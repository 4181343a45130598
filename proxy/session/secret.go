package session

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a text that must not leave the process by accident: a Client Session Token or the Portal API Key.
// It prints as "[redacted]" through every fmt verb, log/slog, encoding/json and encoding/xml; only [Secret.Reveal]
// gives the text. The zero Secret is empty.
type Secret struct {
	// A pointer, because fmt reads an unexported field of an outer struct without asking its methods: a string
	// there would print in clear, a pointer prints as an address.
	text *string
}

// NewSecret holds text as a Secret. An empty text gives the zero Secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: &text}
}

// Reveal returns the text itself. Call it only where the secret leaves for its destination.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no text.
func (s Secret) IsZero() bool { return s.text == nil }

// Equal reports whether both hold the same text, in time that does not depend on where they differ.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// Format implements [fmt.Formatter], so that no verb and no flag reaches the text.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// String returns "[redacted]".
func (s Secret) String() string { return redacted }

// MarshalText implements [encoding.TextMarshaler] with "[redacted]"; encoding/json and encoding/xml use it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements [slog.LogValuer] with "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
