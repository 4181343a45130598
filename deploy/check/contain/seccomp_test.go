package contain

import (
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"testing"
)

// rule is one of a profile's: what happens to some system calls, and for whom.
type rule struct {
	Names    []string          `json:"names"`
	Action   string            `json:"action"`
	ErrnoRet *uint             `json:"errnoRet,omitempty"`
	Args     []json.RawMessage `json:"args,omitempty"`
	Includes *condition        `json:"includes,omitempty"`
	Excludes *condition        `json:"excludes,omitempty"`
}

type condition struct {
	Caps   []string `json:"caps,omitempty"`
	Arches []string `json:"arches,omitempty"`
}

// seccomp returns the engines' profile as the runtime takes it, for who has no capability.
func seccomp(t *testing.T) map[string]any {
	t.Helper()
	var engines struct {
		DefaultAction   string `json:"defaultAction"`
		DefaultErrnoRet uint   `json:"defaultErrnoRet"`
		Syscalls        []rule `json:"syscalls"`
	}
	text, err := os.ReadFile(*profile)
	if err == nil {
		err = json.Unmarshal(text, &engines)
	}
	if err != nil {
		t.Fatal(err)
	}
	var rules []rule
	for _, r := range engines.Syscalls {
		if r.applies() {
			r.Includes, r.Excludes = nil, nil // the runtime knows neither
			rules = append(rules, r)
		}
	}
	return map[string]any{
		"defaultAction": engines.DefaultAction, "defaultErrnoRet": engines.DefaultErrnoRet, "syscalls": rules,
		"architectures": []string{map[string]string{"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}[runtime.GOARCH]},
	}
}

func (r rule) applies() bool {
	return r.Includes == nil || len(r.Includes.Caps) == 0 &&
		(len(r.Includes.Arches) == 0 || slices.Contains(r.Includes.Arches, runtime.GOARCH))
}
