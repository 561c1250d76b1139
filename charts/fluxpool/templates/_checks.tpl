{{/*
What the schema cannot say, because it is about several values at once. Each refusal names the values and the remedy.
*/}}
{{- define "fluxpool.checks" -}}
{{- $prometheus := .Values.prometheus -}}
{{- if and $prometheus.install $prometheus.url -}}
{{- fail "prometheus.install and prometheus.url are both set: set one of them, the operator asks one Prometheus." -}}
{{- end -}}
{{- if not (or $prometheus.install $prometheus.url) -}}
{{- fail "The operator reads the load of its pools from Prometheus: set prometheus.url to yours, or prometheus.install=true for a small one that scrapes only fluxpool." -}}
{{- end -}}
{{- if $prometheus.install -}}
{{- range $name, $set := dict "tokenSecret.name" $prometheus.tokenSecret.name "caSecret.name" $prometheus.caSecret.name "caConfigMap.name" $prometheus.caConfigMap.name "headers" $prometheus.headers "matchers" $prometheus.matchers -}}
{{- if $set -}}
{{- fail (printf "prometheus.%s is for the Prometheus of prometheus.url: with prometheus.install=true it would do nothing, remove it." $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $prometheus.caSecret.name $prometheus.caConfigMap.name -}}
{{- fail "prometheus.caSecret.name and prometheus.caConfigMap.name are both set: set one of them." -}}
{{- end -}}
{{- range $name, $labels := dict "commonLabels" .Values.commonLabels "operator.podLabels" .Values.operator.podLabels "prometheus.server.podLabels" $prometheus.server.podLabels -}}
{{- range $key := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" -}}
{{- if hasKey ($labels | default dict) $key -}}
{{- fail (printf "%s sets %s, by which the chart's Deployments and Services select their pods: remove it." $name $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false: name the ServiceAccount to use in serviceAccount.name." -}}
{{- end -}}
{{- end -}}
