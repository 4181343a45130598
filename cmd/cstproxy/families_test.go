package main

import (
	"errors"
	"testing"
)

func TestFamiliesAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text, want string
		wrong      bool
	}{
		"one":                {text: "client", want: "client"},
		"all":                {text: "client,enclave,custodian", want: "client,enclave,custodian"},
		"with spaces":        {text: " enclave , client", want: "enclave,client"},
		"one twice":          {text: "client,client", wrong: true},
		"one that is none":   {text: "client,token", wrong: true},
		"a comma at the end": {text: "client,", wrong: true},
		"in capitals":        {text: "Client", wrong: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got families
			err := got.UnmarshalText([]byte(c.text))
			if c.wrong {
				if !errors.Is(err, errNotAllowed) || len(got) > 0 {
					t.Errorf("got %q and %v, want a mistake", got, err)
				}
				return
			}
			if err != nil || got.String() != c.want {
				t.Errorf("got %q and %v, want %q", got, err, c.want)
			}
		})
	}
}
