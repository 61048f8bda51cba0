{{/* The common parts of all pods: the bridge's, the job's and the test's. */}}
{{- define "imbridge.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{- define "imbridge.podSecurity" -}}
automountServiceAccountToken: false
{{- with .Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "imbridge.containerSecurity" -}}
image: {{ include "imbridge.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "imbridge.environment" -}}
{{- if or .Values.secrets.existing .Values.secrets.values }}
envFrom:
  {{- range .Values.secrets.existing }}
  - secretRef:
      name: {{ . }}
  {{- end }}
  {{- if .Values.secrets.values }}
  - secretRef:
      name: {{ include "imbridge.fullname" . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "imbridge.mounts" -}}
- name: config
  mountPath: /etc/imbridge/imbridge.toml
  subPath: imbridge.toml
  readOnly: true
{{- if .Values.certificates.existingSecret }}
- name: certificates
  mountPath: /etc/imbridge/certificates
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "imbridge.volumes" -}}
- name: config
  configMap:
    name: {{ include "imbridge.fullname" . }}
{{- with .Values.certificates.existingSecret }}
- name: certificates
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The placement of pods, from the values. */}}
{{- define "imbridge.placement" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
