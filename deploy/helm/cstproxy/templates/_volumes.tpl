{{/*
Whole Secrets are mounted as directories, never a file by subPath: Kubernetes would never update that one, and a rotated
secret would not arrive.
*/}}

{{- define "cstproxy.volumeMounts" -}}
{{- $values := .Values.cstproxy -}}
- name: cstproxy-portal
  mountPath: /run/secrets/cstproxy/portal
  readOnly: true
- name: cstproxy-redis
  mountPath: /run/secrets/cstproxy/redis
  readOnly: true
{{- if $values.redis.clientSecretName }}
- name: cstproxy-redis-client
  mountPath: /run/secrets/cstproxy/redis-client
  readOnly: true
{{- end }}
{{- if $values.sealKeys.secretName }}
- name: cstproxy-seal-keys
  mountPath: /run/secrets/cstproxy/seal-keys
  readOnly: true
{{- end }}
{{- if $values.tls.enabled }}
- name: cstproxy-tls
  mountPath: /run/secrets/cstproxy/tls
  readOnly: true
{{- end }}
{{- if $values.callerAuth.enabled }}
- name: cstproxy-callers
  mountPath: /run/config/cstproxy
  readOnly: true
- name: cstproxy-cluster
  mountPath: /run/secrets/cstproxy/cluster
  readOnly: true
{{- end }}
{{- if eq $values.data.listen "socket" }}
- name: cstproxy-socket
  mountPath: /run/cstproxy
{{- end }}
{{- end -}}

{{/*
cstproxy.appVolumeMounts is a list for each container that asks the proxy; nothing unless there is a socket, a token or an
authority to mount.
*/}}
{{- define "cstproxy.appVolumeMounts" -}}
{{- include "cstproxy.check" . -}}
{{- include "cstproxy.appVolumeMountList" .Values.cstproxy | trim -}}
{{- end -}}

{{- define "cstproxy.appVolumeMountList" -}}
{{- if eq .data.listen "socket" }}
- name: cstproxy-socket
  mountPath: /run/cstproxy
{{- end }}
{{- if .callerAuth.enabled }}
- name: cstproxy-caller
  mountPath: /run/secrets/cstproxy-caller
  readOnly: true
{{- end }}
{{- if and .tls.enabled .tls.caKey }}
- name: cstproxy-ca
  mountPath: /run/secrets/cstproxy-ca
  readOnly: true
{{- end }}
{{- end -}}

{{/*
cstproxy.volumes is a list for the pod. The mode 0440 is for the pod's fsGroup, by which a process that isn't root reads
the files.
*/}}
{{- define "cstproxy.volumes" -}}
{{- include "cstproxy.check" . -}}
{{- include "cstproxy.volumeList" .Values.cstproxy | trim -}}
{{- end -}}

{{- define "cstproxy.volumeList" -}}
{{- include "cstproxy.secretVolume" (dict "name" "cstproxy-portal" "secret" .portal.secretName) }}
{{- include "cstproxy.secretVolume" (dict "name" "cstproxy-redis" "secret" .redis.secretName) }}
{{- with .redis.clientSecretName }}
{{- include "cstproxy.secretVolume" (dict "name" "cstproxy-redis-client" "secret" .) }}
{{- end }}
{{- with .sealKeys.secretName }}
{{- include "cstproxy.secretVolume" (dict "name" "cstproxy-seal-keys" "secret" .) }}
{{- end }}
{{- if .tls.enabled }}
{{- include "cstproxy.secretVolume" (dict "name" "cstproxy-tls" "secret" .tls.secretName) }}
{{- with .tls.caKey }}
{{- include "cstproxy.secretVolume" (dict "name" "cstproxy-ca" "secret" $.tls.secretName "only" . "path" "ca.crt") }}
{{- end }}
{{- end }}
{{- if .callerAuth.enabled }}
{{- include "cstproxy.callerVolumes" .callerAuth }}
{{- end }}
{{- if eq .data.listen "socket" }}
- name: cstproxy-socket
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- end }}
{{- end -}}

{{- define "cstproxy.secretVolume" }}
- name: {{ .name }}
  secret:
    secretName: {{ .secret | quote }}
    defaultMode: 0440
    {{- with .only }}
    items:
      - key: {{ . | quote }}
        path: {{ $.path }}
    {{- end }}
{{- end -}}

{{- define "cstproxy.callerVolumes" }}
- name: cstproxy-callers
  configMap:
    name: {{ .configMapName | quote }}
    defaultMode: 0440
# What the proxy asks the API server with.
- name: cstproxy-cluster
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
# What the app shows the proxy.
- name: cstproxy-caller
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          audience: {{ .audience | quote }}
          expirationSeconds: {{ int64 .expirationSeconds }}
{{- end -}}
