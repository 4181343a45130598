package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"
)

// bashCompletion is in place of the library's own script, which has the shell evaluate the line that is being typed, with
// every $(…) in it, and needs another package.
const bashCompletion = `# Completion of cstproxy for bash. It evaluates nothing of what stands on the line.
_cstproxy() {
  local cur=${COMP_WORDS[COMP_CWORD]} word line
  local -a words=()
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == = ]] || words+=("$word")
  done
  [[ $cur != = ]] || cur=
  [[ $cur != -* ]] || words+=("$cur")
  COMPREPLY=()
  while IFS= read -r line; do
    [[ ${line%%:*} != "$cur"* ]] || COMPREPLY+=("${line%%:*}")
  done < <("$1" "${words[@]}" --generate-shell-completion 2>/dev/null)
}
complete -o bashdefault -o default -F _cstproxy cstproxy
`

const completionText = `For this shell alone, or in its start-up file for good:
  bash   source <(cstproxy completion bash)
  zsh    source <(cstproxy completion zsh)
  fish   cstproxy completion fish | source
  pwsh   cstproxy completion pwsh | Out-String | Invoke-Expression`

// completion makes the library's command one of ours.
func (p process) completion(c *cli.Command) {
	c.Hidden = false
	c.Usage = "print what has a shell complete commands, flags and words: bash, zsh, fish or pwsh"
	c.Description = completionText
	c.OnUsageError = wrongUsage()
	c.Action = wanting
	for _, shell := range c.Commands {
		shell.Usage = "print the completion for " + shell.Name
		shell.HideHelpCommand = true
		shell.OnUsageError = wrongUsage()
		shell.Action = alone(shell.Action)
		if shell.Name == "bash" {
			shell.Action = alone(func(context.Context, *cli.Command) error {
				_, err := fmt.Fprint(p.out, bashCompletion)
				return err
			})
		}
	}
	c.HideHelpCommand = true
	prepare(c, "cstproxy completion")
}

// complete lists what may come next on a line: after a flag that takes one of few words those, else commands or flags.
func complete(ctx context.Context, c *cli.Command) {
	last := ""
	if words := c.Args().Slice(); len(words) > 0 {
		last = words[len(words)-1]
	}
	flag, isFlag := strings.CutPrefix(last, flagDashes)
	switch {
	case isFlag && takesValue(c, flag):
		for _, word := range wordsOf(flag) {
			_, _ = fmt.Fprintln(c.Root().Writer, word)
		}
	case last == "" || strings.HasPrefix(last, "-"):
		cli.DefaultCompleteWithFlags(ctx, c)
	}
}

// takesValue reports whether c has a flag of that very name which is nothing without a value.
func takesValue(c *cli.Command, name string) bool {
	return slices.ContainsFunc(c.Flags, func(f cli.Flag) bool {
		_, isSwitch := f.(*cli.BoolFlag)
		return !isSwitch && slices.Contains(f.Names(), name)
	})
}

// wordsOf returns the only words that the flag takes, or none if it takes others.
func wordsOf(flag string) []string {
	if flag == outputName {
		return forms()
	}
	for _, s := range settings() {
		if s.flag == flag && flag != "" {
			return s.oneOf
		}
	}
	return nil
}
