{{/*
cstproxy.initContainers is a list for the pod's initContainers, to stand first in it; nothing in mode classic.
*/}}
{{- define "cstproxy.initContainers" -}}
{{- include "cstproxy.check" . -}}
{{- if eq .Values.cstproxy.mode "native" -}}
- {{ include "cstproxy.sidecar" . | nindent 2 | trim }}
{{- end -}}
{{- end -}}

{{/*
cstproxy.containers is a list for the pod's containers in mode classic; nothing in mode native.
*/}}
{{- define "cstproxy.containers" -}}
{{- include "cstproxy.check" . -}}
{{- if eq .Values.cstproxy.mode "classic" -}}
- {{ include "cstproxy.sidecar" . | nindent 2 | trim }}
{{- end -}}
{{- end -}}

{{/*
cstproxy.jobInitContainers is cstproxy.initContainers for pods that are to complete.
*/}}
{{- define "cstproxy.jobInitContainers" -}}
{{- include "cstproxy.check" . -}}
{{- if ne .Values.cstproxy.mode "native" -}}
{{- fail (printf "cstproxy.mode: a Job with a sidecar in mode %s never completes: want native" .Values.cstproxy.mode) -}}
{{- end -}}
{{- include "cstproxy.initContainers" . -}}
{{- end -}}

{{/*
cstproxy.podSecurityContext is for the pod's security context, beside what the app needs there. By the fsGroup the proxy
reads its files, and the app reaches the socket. With another fsGroup that works as well; without any it doesn't.
*/}}
{{- define "cstproxy.podSecurityContext" -}}
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
{{- end -}}

{{/*
cstproxy.podLabels are what PodMonitors and NetworkPolicies find the pods by.
*/}}
{{- define "cstproxy.podLabels" -}}
cstproxy: sidecar
{{- end -}}

{{/*
cstproxy.url is where the app finds the data API.
*/}}
{{- define "cstproxy.url" -}}
{{- include "cstproxy.check" . -}}
{{- $values := .Values.cstproxy -}}
{{- if eq $values.data.listen "socket" -}}
unix:/run/cstproxy/cstproxy.sock
{{- else -}}
{{ ternary "https" "http" $values.tls.enabled }}://127.0.0.1:{{ $values.data.port }}
{{- end -}}
{{- end -}}
