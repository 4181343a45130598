{{/*
example.container is what both containers of this chart have.
*/}}
{{- define "example.container" -}}
resources:
  requests:
    cpu: 10m
    memory: 32Mi
    ephemeral-storage: 16Mi
  limits:
    memory: 32Mi
    ephemeral-storage: 16Mi
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}

{{/*
example.env tells the app where the proxy is. curl takes a socket by an option, and any host in the URL.
*/}}
{{- define "example.env" -}}
{{- $url := include "cstproxy.url" .context -}}
{{- $options := .curlOptions -}}
{{- if hasPrefix "unix:" $url -}}
{{- $options = printf "--unix-socket %s %s" (trimPrefix "unix:" $url) $options | trim -}}
{{- $url = ternary "https://localhost" "http://unix" .context.Values.cstproxy.tls.enabled -}}
{{- end -}}
- name: CST_URL
  value: {{ $url }}
- name: CLIENT_ID
  value: {{ .context.Values.clientId | quote }}
- name: CURL_OPTIONS
  value: {{ $options | quote }}
{{- if .context.Values.cstproxy.callerAuth.enabled }}
- name: CST_TOKEN_FILE
  value: /run/secrets/cstproxy-caller/token
{{- end }}
{{- end -}}
