{{- define "meterbridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "meterbridge.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "meterbridge.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "meterbridge.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "meterbridge.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "meterbridge.selector" . }}
{{- end -}}

{{- define "meterbridge.selector" -}}
app.kubernetes.io/name: {{ include "meterbridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "meterbridge.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "meterbridge.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: name the service account that exists, or let the chart make one (serviceAccount.create)" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "meterbridge.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* Whether the exporter and the accounting service share a volume, and so a pod. */}}
{{- define "meterbridge.together" -}}
{{- if and .Values.accounting.enabled (eq .Values.accounting.ledger "sqlite") -}}true{{- end -}}
{{- end -}}

{{/* The settings file: what the site gives, and what only the chart knows. */}}
{{- define "meterbridge.settings" -}}
{{- $own := dict "web" (dict "listen" "0.0.0.0:9810") -}}
{{- $service := dict "listen" "0.0.0.0:9811" -}}
{{- if .Values.web.configSecret.name -}}
{{- $_ := set $own.web "config_file" (printf "/etc/meterbridge/web/%s" .Values.web.configSecret.key) -}}
{{- $_ := set $service "config_file" (printf "/etc/meterbridge/web/%s" .Values.web.configSecret.key) -}}
{{- end -}}
{{- if .Values.accounting.enabled -}}
{{- if .Values.accounting.tokensSecret.name -}}
{{- $_ := set $service "tokens_file" (printf "/etc/meterbridge/tokens/%s" .Values.accounting.tokensSecret.key) -}}
{{- end -}}
{{- $_ := set $own "service" $service -}}
{{- if eq .Values.accounting.ledger "sqlite" -}}
{{- $_ := set $own "ledger" (dict "url" "sqlite:////var/lib/meterbridge/ledger.db") -}}
{{- else -}}
{{- $url := required "accounting.postgresql.url: where is the ledger? postgresql+psycopg://USER@HOST/DATABASE" .Values.accounting.postgresql.url -}}
{{- $_ := set $own "ledger" (dict "url" $url) -}}
{{- end -}}
{{- end -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) $own) -}}
{{- end -}}

{{- define "meterbridge.podSecurity" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- with .Values.podSecurityContext.fsGroup }}
fsGroup: {{ . }}
{{- end }}
{{- end -}}

{{- define "meterbridge.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What a pod of exporter or accounting has besides its containers. */}}
{{- define "meterbridge.podRest" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
serviceAccountName: {{ include "meterbridge.serviceAccount" . }}
securityContext: {{- include "meterbridge.podSecurity" . | nindent 2 }}
terminationGracePeriodSeconds: 60
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "meterbridge.probes" -}}
startupProbe:
  httpGet: {path: /-/healthy, port: {{ .port }}, scheme: {{ upper .root.Values.web.scheme }}}
  failureThreshold: 30
  periodSeconds: 2
livenessProbe:
  httpGet: {path: /-/healthy, port: {{ .port }}, scheme: {{ upper .root.Values.web.scheme }}}
  periodSeconds: 20
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /-/ready, port: {{ .port }}, scheme: {{ upper .root.Values.web.scheme }}}
  periodSeconds: 10
  timeoutSeconds: 5
{{- end -}}

{{- define "meterbridge.env" -}}
{{- with .Values.slurm.jwtSecret.name }}
- name: SLURM_JWT
  valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $.Values.slurm.jwtSecret.key }}}}
{{- end }}
{{- if and .Values.accounting.enabled .Values.accounting.postgresql.passwordSecret.name (eq .Values.accounting.ledger "postgresql") }}
- name: PGPASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.accounting.postgresql.passwordSecret.name }}, key: {{ .Values.accounting.postgresql.passwordSecret.key }}}}
{{- end }}
{{- end -}}

{{- define "meterbridge.exporterContainer" -}}
- name: exporter
  image: {{ include "meterbridge.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [exporter, --config, /etc/meterbridge/config/meterbridge.yaml{{ with .shard }}, --shard, {{ . | quote }}{{ end }}{{ range .Values.exporter.args }}, {{ . | quote }}{{ end }}]
  {{- $env := include "meterbridge.env" . | trim }}
  {{- if or $env .Values.exporter.env }}
  env:
    {{- with $env }}{{ . | nindent 4 }}{{ end }}
    {{- with .Values.exporter.env }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- end }}
  ports: [{name: metrics, containerPort: 9810}]
  {{- include "meterbridge.probes" (dict "root" . "port" "metrics") | nindent 2 }}
  resources: {{- toYaml .Values.exporter.resources | nindent 4 }}
  securityContext: {{- include "meterbridge.containerSecurity" . | nindent 4 }}
  volumeMounts:
    {{- include "meterbridge.mounts" . | nindent 4 }}
    - {name: state, mountPath: /var/lib/meterbridge}
{{- end -}}

{{- define "meterbridge.accountingContainer" -}}
- name: accounting
  image: {{ include "meterbridge.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [serve, --config, /etc/meterbridge/config/meterbridge.yaml{{ range .Values.accounting.args }}, {{ . | quote }}{{ end }}]
  {{- $env := include "meterbridge.env" . | trim }}
  {{- if or $env .Values.accounting.env }}
  env:
    {{- with $env }}{{ . | nindent 4 }}{{ end }}
    {{- with .Values.accounting.env }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- end }}
  ports: [{name: api, containerPort: 9811}]
  {{- include "meterbridge.probes" (dict "root" . "port" "api") | nindent 2 }}
  resources: {{- toYaml .Values.accounting.resources | nindent 4 }}
  securityContext: {{- include "meterbridge.containerSecurity" . | nindent 4 }}
  volumeMounts:
    {{- include "meterbridge.mounts" . | nindent 4 }}
    {{- with .Values.accounting.tokensSecret.name }}
    - {name: tokens, mountPath: /etc/meterbridge/tokens, readOnly: true}
    {{- end }}
    - {name: state, mountPath: /var/lib/meterbridge}
{{- end -}}

{{- define "meterbridge.mounts" -}}
- {name: config, mountPath: /etc/meterbridge/config, readOnly: true}
{{- if .Values.web.configSecret.name }}
- {name: web, mountPath: /etc/meterbridge/web, readOnly: true}
{{- end }}
- {name: tmp, mountPath: /tmp}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "meterbridge.volumes" -}}
- name: config
  configMap: {name: {{ include "meterbridge.fullname" . }}}
{{- with .Values.web.configSecret.name }}
- name: web
  secret: {secretName: {{ . }}}
{{- end }}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "meterbridge.tokensVolume" -}}
{{- with .Values.accounting.tokensSecret.name }}
- name: tokens
  secret: {secretName: {{ . }}}
{{- end }}
{{- end -}}

{{- define "meterbridge.podMeta" -}}
annotations:
  checksum/config: {{ include "meterbridge.settings" . | sha256sum }}
  {{- with .Values.podAnnotations }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end -}}
