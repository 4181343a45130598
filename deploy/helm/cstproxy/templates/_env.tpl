{{- define "cstproxy.env" -}}
{{- $values := .Values.cstproxy -}}
{{- $secrets := "/run/secrets/cstproxy" -}}
{{- if eq $values.data.listen "socket" -}}
- name: CSTPROXY_LISTEN
  value: unix:/run/cstproxy/cstproxy.sock
- name: CSTPROXY_SOCKET_MODE
  value: "0660"
{{- else -}}
- name: CSTPROXY_LISTEN
  value: 127.0.0.1:{{ $values.data.port }}
{{- end }}
- name: CSTPROXY_ADMIN_LISTEN
  value: :{{ $values.admin.port }}
- name: PORTAL_API_KEY_FILE
  value: {{ $secrets }}/portal/{{ $values.portal.key }}
{{- with $values.portal.nextKey }}
- name: PORTAL_API_KEY_NEXT_FILE
  value: {{ $secrets }}/portal/{{ . }}
{{- end }}
- name: REDIS_URL_FILE
  value: {{ $secrets }}/redis/{{ $values.redis.urlKey }}
{{- with $values.redis.usernameKey }}
- name: REDIS_USERNAME_FILE
  value: {{ $secrets }}/redis/{{ . }}
{{- end }}
{{- with $values.redis.passwordKey }}
- name: REDIS_PASSWORD_FILE
  value: {{ $secrets }}/redis/{{ . }}
{{- end }}
{{- with $values.redis.caKey }}
- name: REDIS_CA_FILE
  value: {{ $secrets }}/redis/{{ . }}
{{- end }}
{{- if $values.redis.clientSecretName }}
- name: REDIS_CERT_FILE
  value: {{ $secrets }}/redis-client/tls.crt
- name: REDIS_KEY_FILE
  value: {{ $secrets }}/redis-client/tls.key
{{- end }}
- name: GOMEMLIMIT
  value: {{ include "cstproxy.goMemoryLimit" . }}
{{- if $values.sealKeys.secretName }}
- name: CSTPROXY_SEAL_KEYS_FILE
  value: {{ $secrets }}/seal-keys/{{ $values.sealKeys.key }}
{{- end }}
{{- if $values.tls.enabled }}
- name: CSTPROXY_TLS_CERT_FILE
  value: {{ $secrets }}/tls/tls.crt
- name: CSTPROXY_TLS_KEY_FILE
  value: {{ $secrets }}/tls/tls.key
{{- with $values.tls.clientCAKey }}
- name: CSTPROXY_TLS_CLIENT_CA_FILE
  value: {{ $secrets }}/tls/{{ . }}
{{- end }}
{{- end }}
{{- if $values.callerAuth.enabled }}
- name: CSTPROXY_CALLERS_FILE
  value: /run/config/cstproxy/{{ $values.callerAuth.key }}
{{- end }}
{{- if eq $values.mode "classic" }}
- name: CSTPROXY_DRAIN_DELAY
  value: {{ $values.drainDelay | quote }}
{{- end }}
{{- include "cstproxy.settingsEnv" . }}
{{- end -}}

{{- define "cstproxy.settingsEnv" -}}
{{- $settings := .Values.cstproxy.settings -}}
{{- range $setting, $variable := include "cstproxy.settingVariables" . | fromYaml }}
{{- $value := get $settings $setting }}
{{- if and (hasKey $settings $setting) (not (kindIs "invalid" $value)) }}
- name: {{ $variable }}
  value: {{ include "cstproxy.settingText" $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
cstproxy.settingText writes numbers in full: numbers in values are floating, and a million would read 1e+06.
*/}}
{{- define "cstproxy.settingText" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ toString . }}{{ end -}}
{{- end -}}

{{/*
cstproxy.settingVariables :: key below settings → variable. What has a place of its own in the values (files, addresses)
is not among them, so that nothing is said twice.
*/}}
{{- define "cstproxy.settingVariables" -}}
audit: CSTPROXY_AUDIT
auditStrict: CSTPROXY_AUDIT_STRICT
collectorURL: OTEL_EXPORTER_OTLP_ENDPOINT
httpsProxy: HTTPS_PROXY
idleTTL: CSTPROXY_IDLE_TTL
keyPrefix: CSTPROXY_KEY_PREFIX
logFormat: CSTPROXY_LOG_FORMAT
logLevel: CSTPROXY_LOG_LEVEL
maxAtPortal: CSTPROXY_MAX_AT_PORTAL
maxConnections: CSTPROXY_MAX_CONNECTIONS
maxInFlight: CSTPROXY_MAX_IN_FLIGHT
maxWaiting: CSTPROXY_MAX_WAITING
memoryEntries: CSTPROXY_MEMORY_ENTRIES
memoryTTL: CSTPROXY_MEMORY_TTL
minTTL: CSTPROXY_MIN_TTL
mintAhead: CSTPROXY_MINT_AHEAD
mintRate: CSTPROXY_MINT_RATE
noProxy: NO_PROXY
passthrough: CSTPROXY_PASSTHROUGH
passthroughTimeout: CSTPROXY_PASSTHROUGH_TIMEOUT
portalAPIURL: PORTAL_API_URL
portalAPIVersion: CSTPROXY_PORTAL_API_VERSION
portalMPCURL: PORTAL_MPC_URL
portalProxy: CSTPROXY_PORTAL_PROXY
portalTimeout: CSTPROXY_PORTAL_TIMEOUT
probeRate: CSTPROXY_PROBE_RATE
redisDown: CSTPROXY_REDIS_DOWN
refresh: CSTPROXY_REFRESH
refreshWindow: CSTPROXY_REFRESH_WINDOW
resourceAttributes: OTEL_RESOURCE_ATTRIBUTES
retryEnclave: CSTPROXY_RETRY_ENCLAVE
safetyMargin: CSTPROXY_SAFETY_MARGIN
serviceName: OTEL_SERVICE_NAME
tracesSampler: OTEL_TRACES_SAMPLER
tracesSamplerArg: OTEL_TRACES_SAMPLER_ARG
{{- end -}}
