{{/* Prefix of all names. 40 characters leave room for the suffixes within the 63 of a label. */}}
{{- define "fluxpool.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "fluxpool.operatorName" -}}
{{ include "fluxpool.fullname" . }}-operator
{{- end -}}

{{- define "fluxpool.prometheusName" -}}
{{ include "fluxpool.fullname" . }}-prometheus
{{- end -}}

{{- define "fluxpool.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "fluxpool.operatorName" .) -}}
{{- end -}}

{{/* Labels that select pods. (list $ "component"): they never change, since a Deployment's selector cannot. */}}
{{- define "fluxpool.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of every object. (list $ "component") */}}
{{- define "fluxpool.labels" -}}
{{- $root := index . 0 -}}
{{ include "fluxpool.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: fluxpool
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Reference of an image. (list $ .Values.operator.image): a digest wins over the tag, which is then for people to read. */}}
{{- define "fluxpool.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $image.registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest -}}
{{- with $image.tag }}:{{ . }}{{ end }}@{{ $image.digest -}}
{{- else -}}
:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Labels of pods. (list $ "component" podLabels): without versions, so that an upgrade that changes nothing of a pod restarts none. */}}
{{- define "fluxpool.podLabels" -}}
{{ include "fluxpool.selectorLabels" . }}
app.kubernetes.io/part-of: fluxpool
{{- with merge (dict) (index . 2 | default dict) ((index . 0).Values.commonLabels | default dict) }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What Pod Security and placement have in common. A dict of podSecurityContext, nodeSelector, tolerations, affinity, priorityClassName. */}}
{{- define "fluxpool.placement" -}}
{{- with .podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Prometheus as the operator reaches it. */}}
{{- define "fluxpool.prometheusUrl" -}}
{{- if .Values.prometheus.install -}}
http://{{ include "fluxpool.prometheusName" . }}.{{ .Release.Namespace }}.svc:9090
{{- else -}}
{{- .Values.prometheus.url -}}
{{- end -}}
{{- end -}}
