{{/*
The operator's settings: each is FLUXPOOL_OPERATOR_ + its name. Only what differs from nothing is set, so that
`kubectl describe` of the Deployment reads as what was chosen. What operator.extraEnv sets wins.
*/}}
{{- define "fluxpool.operatorEnv" -}}
{{- $operator := .Values.operator -}}
{{- $prometheus := .Values.prometheus -}}
{{- $settings := dict
  "PROMETHEUS_URL" (include "fluxpool.prometheusUrl" .)
  "INFERENCE_IMAGE" (include "fluxpool.image" (list . .Values.inference.image))
  "INFERENCE_IMAGE_PULL_POLICY" .Values.inference.image.pullPolicy
  "SCALE_INTERVAL_SECONDS" $operator.scaleIntervalSeconds
  "RESYNC_SECONDS" $operator.resyncSeconds
  "WORKERS" $operator.workers
  "LOG_FORMAT" $operator.log.format
  "LOG_LEVEL" $operator.log.level
  "HTTP_PORT" 8080
-}}
{{- with .Values.watch.namespaces }}{{ $_ := set $settings "NAMESPACES" (join "," .) }}{{ end -}}
{{- with $prometheus.headers }}{{ $_ := set $settings "PROMETHEUS_HEADERS" (toJson .) }}{{ end -}}
{{- with $prometheus.matchers }}{{ $_ := set $settings "PROMETHEUS_MATCHERS" . }}{{ end -}}
{{- if $prometheus.tokenSecret.name }}{{ $_ := set $settings "PROMETHEUS_TOKEN_FILE" "/var/run/fluxpool/prometheus-token/token" }}{{ end -}}
{{- if or $prometheus.caSecret.name $prometheus.caConfigMap.name }}{{ $_ := set $settings "PROMETHEUS_CA_FILE" "/var/run/fluxpool/prometheus-ca/ca.crt" }}{{ end -}}
{{- with .Values.serviceMonitor -}}
{{- if .enabled -}}
{{- $_ := set $settings "SERVICE_MONITOR" "true" -}}
{{- $_ := set $settings "SERVICE_MONITOR_INTERVAL" .interval -}}
{{- with .labels }}{{ $_ := set $settings "SERVICE_MONITOR_LABELS" (toJson .) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $given := list -}}
{{- range $operator.extraEnv }}{{ $given = append $given .name }}{{ end -}}
{{- range $name := keys $settings | sortAlpha }}
{{- $variable := printf "FLUXPOOL_OPERATOR_%s" $name }}
{{- if not (has $variable $given) }}
- name: {{ $variable }}
  value: {{ get $settings $name | toString | quote }}
{{- end }}
{{- end }}
{{- with $operator.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Files the operator reads: the token and the certificate authority of prometheus.url. */}}
{{- define "fluxpool.operatorMounts" -}}
{{- with .Values.prometheus }}
{{- if .tokenSecret.name }}
- name: prometheus-token
  mountPath: /var/run/fluxpool/prometheus-token
  readOnly: true
{{- end }}
{{- if or .caSecret.name .caConfigMap.name }}
- name: prometheus-ca
  mountPath: /var/run/fluxpool/prometheus-ca
  readOnly: true
{{- end }}
{{- end }}
{{- with .Values.operator.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "fluxpool.operatorVolumes" -}}
{{- with .Values.prometheus }}
{{- with .tokenSecret }}
{{- if .name }}
- name: prometheus-token
  secret:
    secretName: {{ .name }}
    items:
      - key: {{ .key }}
        path: token
{{- end }}
{{- end }}
{{- if .caSecret.name }}
- name: prometheus-ca
  secret:
    secretName: {{ .caSecret.name }}
    items:
      - key: {{ .caSecret.key }}
        path: ca.crt
{{- else if .caConfigMap.name }}
- name: prometheus-ca
  configMap:
    name: {{ .caConfigMap.name }}
    items:
      - key: {{ .caConfigMap.key }}
        path: ca.crt
{{- end }}
{{- end }}
{{- with .Values.operator.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
