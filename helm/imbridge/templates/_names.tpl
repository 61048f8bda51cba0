{{/* Names and labels. A pod's name must be valid as a label and as the spool's id: 52 characters, no dots. */}}
{{- define "imbridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | replace "." "-" | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "imbridge.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | replace "." "-" | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "imbridge.selector" -}}
app.kubernetes.io/name: {{ include "imbridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "imbridge.labels" -}}
{{ include "imbridge.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "imbridge.metadata" -}}
name: {{ include "imbridge.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "imbridge.labels" . | nindent 2 }}
{{- end }}
