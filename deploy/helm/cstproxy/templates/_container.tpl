{{/*
cstproxy.sidecar is the container. It is the whole of it: the security context, the probes and the order of the mounts
are not for values to change.
*/}}
{{- define "cstproxy.sidecar" -}}
{{- include "cstproxy.check" . -}}
{{- $values := .Values.cstproxy -}}
name: cstproxy
image: {{ include "cstproxy.image" . | quote }}
imagePullPolicy: {{ $values.image.pullPolicy }}
args: [serve]
{{- if eq $values.mode "native" }}
restartPolicy: Always
{{- end }}
ports:
  - name: cst-metrics
    containerPort: {{ $values.admin.port }}
    protocol: TCP
env:
  {{- include "cstproxy.env" . | nindent 2 }}
resources:
  requests:
    cpu: {{ $values.resources.requests.cpu | toString | quote }}
    memory: {{ $values.resources.limits.memory }}
    ephemeral-storage: {{ index $values.resources.limits "ephemeral-storage" }}
  limits:
    memory: {{ $values.resources.limits.memory }}
    ephemeral-storage: {{ index $values.resources.limits "ephemeral-storage" }}
startupProbe:
  httpGet:
    path: /startupz
    port: cst-metrics
  periodSeconds: 1
  failureThreshold: 30
livenessProbe:
  httpGet:
    path: /livez
    port: cst-metrics
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: cst-metrics
  periodSeconds: 5
  timeoutSeconds: 2
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
  privileged: false
  readOnlyRootFilesystem: true
  runAsGroup: 65532
  runAsNonRoot: true
  runAsUser: 65532
  seccompProfile:
    type: RuntimeDefault
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  {{- include "cstproxy.volumeMounts" . | nindent 2 }}
{{- end -}}

{{- define "cstproxy.image" -}}
{{- $image := .Values.cstproxy.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag }}
{{- end -}}
{{- end -}}

{{/*
cstproxy.goMemoryLimit leaves a tenth of the memory to what Go doesn't count, such as the binary and the kernel's buffers.
*/}}
{{- define "cstproxy.goMemoryLimit" -}}
{{- $mebibytes := include "cstproxy.mebibytes" .Values.cstproxy.resources.limits.memory | atoi -}}
{{- printf "%dMiB" (div (mul $mebibytes 9) 10) -}}
{{- end -}}

{{- define "cstproxy.mebibytes" -}}
{{- if hasSuffix "Gi" . -}}
{{- trimSuffix "Gi" . | atoi | mul 1024 -}}
{{- else -}}
{{- trimSuffix "Mi" . -}}
{{- end -}}
{{- end -}}
