{{/*
Binds rules to a ServiceAccount where FluxPools are watched: a ClusterRole for all namespaces, or a Role in each one of watch.namespaces.
A dict of root, component, name, account, rules (text).
*/}}
{{- define "fluxpool.scopedRole" -}}
{{- $given := . -}}
{{- range $namespace := .root.Values.watch.namespaces | default (list "") }}
{{- $prefix := empty $namespace | ternary "Cluster" "" }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}Role
metadata:
  name: {{ $given.name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "fluxpool.labels" (list $given.root $given.component) | nindent 4 }}
rules:
  {{- $given.rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}RoleBinding
metadata:
  name: {{ $given.name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "fluxpool.labels" (list $given.root $given.component) | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $prefix }}Role
  name: {{ $given.name }}
subjects:
  - kind: ServiceAccount
    name: {{ $given.account }}
    namespace: {{ $given.root.Release.Namespace }}
{{- end }}
{{- end -}}
