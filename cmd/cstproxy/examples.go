package main

import "strings"

// examples :: command → lines that use it. They stand in its help, and each is held to be a command line that there is.
var examples = map[string][]string{
	"cstproxy": {
		"cstproxy demo",
		"PORTAL_API_KEY_FILE=/run/secrets/portal-api-key cstproxy serve",
	},
	"cstproxy serve": {
		"PORTAL_API_KEY_FILE=/run/secrets/portal-api-key cstproxy serve",
		"cstproxy serve --listen unix:/run/cstproxy/data.sock --log-format text",
	},
	"cstproxy demo": {
		"cstproxy demo",
		"cstproxy demo --speed 1 --users 0 --listen 127.0.0.1:8888",
	},
	"cstproxy simulate": {
		"cstproxy simulate --any-client",
		"cstproxy simulate --rate-limit 5 --mint-kills-older --speed 3600",
	},
	"cstproxy check": {
		"cstproxy check",
		"kubectl exec POD -c cstproxy -- /cstproxy check",
		"cstproxy check --output json | jq '.checks[] | select(.state == \"failed\")'",
	},
	"cstproxy config": {
		"cstproxy config",
		"cstproxy config --output json | jq '.settings[] | select(.origin != \"default\")'",
	},
	"cstproxy healthcheck": {
		"cstproxy healthcheck",
		"cstproxy healthcheck --admin-listen unix:/run/cstproxy/admin.sock",
	},
	"cstproxy stats": {
		"cstproxy stats",
		"cstproxy stats --once",
		"cstproxy stats --interval 10s --output json | jq .tokens.hitRatio",
	},
	"cstproxy token": {
		"cstproxy token status cm0r6nkek00ej10dwwx8wdjmf",
	},
	"cstproxy token get": {
		"TOKEN=$(cstproxy token get cm0r6nkek00ej10dwwx8wdjmf)",
		"cstproxy token get cm0r6nkek00ej10dwwx8wdjmf --min-ttl 2h --output json",
	},
	"cstproxy token status": {
		"cstproxy token status cm0r6nkek00ej10dwwx8wdjmf",
		"kubectl exec POD -c cstproxy -- /cstproxy token status cm0r6nkek00ej10dwwx8wdjmf",
		"CSTPROXY_CALLER_KEY_FILE=~/caller-key cstproxy token status cm0r6nkek00ej10dwwx8wdjmf --output json",
	},
	"cstproxy token reject": {
		"cstproxy token reject cm0r6nkek00ej10dwwx8wdjmf",
		"cstproxy token reject cm0r6nkek00ej10dwwx8wdjmf 3f0c6f1d2b7a49e88c5d0e1f2a3b4c5d",
	},
	"cstproxy key": {
		"cstproxy key new backend",
	},
	"cstproxy key new": {
		"cstproxy key new backend > callers.yaml",
		"cstproxy key new backend --output json",
	},
	"cstproxy seal-key": {
		"cstproxy seal-key new > seal-keys.json",
	},
	"cstproxy seal-key new": {
		"(umask 077; cstproxy seal-key new > seal-keys.json)",
	},
	"cstproxy seal-key rotate": {
		"cstproxy seal-key rotate --add seal-keys.json",
		"cstproxy seal-key rotate --promote seal-keys.json",
		"cstproxy seal-key rotate --retire seal-keys.json",
	},
	"cstproxy version": {
		"cstproxy version",
		"cstproxy version --output json | jq -r .revision",
	},
	"cstproxy completion": {
		"cstproxy completion bash > /etc/bash_completion.d/cstproxy",
	},
	"cstproxy completion bash": {"cstproxy completion bash > /etc/bash_completion.d/cstproxy"},
	"cstproxy completion zsh":  {"cstproxy completion zsh > ~/.zfunc/_cstproxy"},
	"cstproxy completion fish": {"cstproxy completion fish > ~/.config/fish/completions/cstproxy.fish"},
	"cstproxy completion pwsh": {"cstproxy completion pwsh > cstproxy.ps1"},
}

// exampleText returns a command's examples as its help shows them.
func exampleText(path string) string {
	return "EXAMPLES:\n  " + strings.Join(examples[path], "\n  ")
}
