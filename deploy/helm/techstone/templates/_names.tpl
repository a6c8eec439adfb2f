{{/*
The name of everything of this release. 63 characters are the bound of DNS and of a label's value. The longest ending of ours
has 13 (-gateway-pods); Kubernetes labels a StatefulSet's pods by its name and a revision, which makes 19 (-gateway-, ten).
*/}}
{{- define "techstone.name" -}}
{{- if contains "techstone" .Release.Name }}{{ .Release.Name | trunc 44 | trimSuffix "-" }}{{ else }}{{ printf "%s-techstone" .Release.Name | trunc 44 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "techstone.selector" -}}
app.kubernetes.io/name: techstone
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "techstone.labels" -}}
{{ include "techstone.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "techstone.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What both planes' pods have alike; `plane` is that plane's values. */}}
{{- define "techstone.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .plane.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .plane.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .plane.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "techstone.selector" . | nindent 8 }}
{{- end }}

{{- define "techstone.container" -}}
image: {{ include "techstone.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
envFrom:
  - secretRef: { name: {{ .plane.secretName }} }
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
resources: {{- toYaml .plane.resources | nindent 2 }}
{{- end }}
