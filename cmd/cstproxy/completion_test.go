package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bashSays runs a script in a bash that has sourced the completion, and returns the lines that it printed.
func bashSays(t *testing.T, script string) []string {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("SKIPPED: there is no bash to complete in")
	}
	// complete_line has bash's own words of the line completed, as on a tab at its end.
	const complete = `set -eu
source <(cstproxy completion bash)
complete_line() { COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _cstproxy "$1" "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"; printf '%s\n' "${COMPREPLY[@]+"${COMPREPLY[@]}"}"; }
complete -p cstproxy >/dev/null
`
	command := exec.Command(bash, "--norc", "--noprofile", "-c", complete+script)
	name, value := raceSettings()
	command.Env = append(command.Environ(), name+"="+value)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	return strings.Fields(string(out))
}

func TestBashCompletesCommandsFlagsAndWords(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		`cstproxy ''`:                      {"serve", "demo", "simulate", "check", "config", "healthcheck", "stats", "token", "key", "seal-key", "version", "completion"},
		`cstproxy s`:                       {"serve", "simulate", "stats", "seal-key"},
		`cstproxy token ''`:                {"get", "status", "reject"},
		`cstproxy token get alice --m`:     {"--min-ttl"},
		`cstproxy serve --refresh ''`:      {"probe", "assume", "observe"},
		`cstproxy serve --refresh o`:       {"observe"},
		`cstproxy serve --refresh = a`:     {"assume"},
		`cstproxy check -o json --log-f`:   {"--log-format"},
		`cstproxy version --output ''`:     {"text", "json"},
		`cstproxy serve --callers-file ''`: nil,
		`cstproxy token get ''`:            nil,
		`cstproxy nonsense ''`:             nil,
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			got := bashSays(t, "complete_line "+line)
			if diff := cmp.Diff(strings.Join(want, " "), strings.Join(got, " ")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestATabEvaluatesNothing has words on the line that bash would act on if it read them again.
func TestATabEvaluatesNothing(t *testing.T) {
	t.Parallel()
	got := bashSays(t, `cd "$(mktemp -d)"; complete_line cstproxy serve '$(touch evaluated)' '`+"`touch evaluated`"+`' ';' touch evaluated '' >/dev/null; ls`)
	if slices.Contains(got, "evaluated") {
		t.Errorf("it did: %q", got)
	}
}
