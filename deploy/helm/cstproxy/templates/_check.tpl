{{/*
cstproxy.check refuses what the schema can't see, and what would go unseen where the schema is skipped.
*/}}
{{- define "cstproxy.check" -}}
{{- $values := required "cstproxy: want the values of the library here; for a dependency with an alias include with (dict \"Values\" (dict \"cstproxy\" .Values.ALIAS) \"Capabilities\" .Capabilities)" (.Values | default dict).cstproxy -}}
{{- if not (has $values.mode (list "native" "classic")) -}}
{{- fail (printf "cstproxy.mode: %v is not a mode: want native or classic" $values.mode) -}}
{{- end -}}
{{- if not (has $values.data.listen (list "loopback" "socket")) -}}
{{- fail (printf "cstproxy.data.listen: %v is nowhere to listen: want loopback or socket" $values.data.listen) -}}
{{- end -}}
{{- if eq (int $values.data.port) (int $values.admin.port) -}}
{{- fail (printf "cstproxy.data.port: %d is cstproxy.admin.port too: want another" (int $values.data.port)) -}}
{{- end -}}
{{- include "cstproxy.checkMemory" $values.resources -}}
{{- include "cstproxy.checkCluster" . -}}
{{- end -}}

{{- define "cstproxy.checkMemory" -}}
{{- $limit := .limits.memory | toString -}}
{{- if not (regexMatch "^[1-9][0-9]*(Mi|Gi)$" $limit) -}}
{{- fail (printf "cstproxy.resources.limits.memory: GOMEMLIMIT is nine tenths of it and can't be computed from %q: want whole Mi or Gi, such as 64Mi" $limit) -}}
{{- end -}}
{{- if lt (include "cstproxy.mebibytes" $limit | atoi) 32 -}}
{{- fail (printf "cstproxy.resources.limits.memory: %s is less than the proxy lives on: want 32Mi or more" $limit) -}}
{{- end -}}
{{- end -}}

{{- define "cstproxy.checkCluster" -}}
{{- if and (eq .Values.cstproxy.mode "native") .Capabilities -}}
{{- if semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version -}}
{{- fail (printf "cstproxy.mode: native needs Kubernetes 1.29 and this is %s: want classic" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}
{{- end -}}
