{{- define "odi.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "odi.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Of a component: (dict "root" $ "component" "server") */}}
{{- define "odi.selector" -}}
app.kubernetes.io/name: {{ include "odi.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "odi.labels" -}}
{{ include "odi.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "odi.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "odi.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "odi.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{/* Whether the pod has a Docker daemon. */}}
{{- define "odi.hasDocker" -}}
{{- if or .Values.docker.host .Values.docker.hostSocket.enabled (hasKey .Values.settings "DOCKER_HOST") }}true{{ end }}
{{- end }}

{{- define "odi.port" -}}
{{ .Values.settings.PORT | default 8000 }}
{{- end }}

{{/* What a container of the server's image may do: nothing. */}}
{{- define "odi.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "odi.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
# Else it would be done anew, for all files, at each start.
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The settings of every process of the program. */}}
{{- define "odi.environment" -}}
{{- range $name, $of := .Values.secretSettings }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $of.name }}
      key: {{ $of.key }}
{{- end }}
{{- end }}

{{/* What does not fit together is refused here, with a sentence. */}}
{{- define "odi.check" -}}
{{- range $name := list "API_KEYS" "ENCRYPTION_KEY" }}
{{- if not (hasKey $.Values.secretSettings $name) }}
{{- fail (printf "`secretSettings.%s` is needed: the name and key of a Secret" $name) }}
{{- end }}
{{- end }}
{{- if and (not .Values.persistence.enabled) (not (hasKey .Values.secretSettings "DATABASE_URL")) }}
{{- fail "without `persistence` the store has to be in PostgreSQL: set `secretSettings.DATABASE_URL`" }}
{{- end }}
{{- if and (hasKey .Values.settings "DOCKER_HOST") (or .Values.docker.host .Values.docker.hostSocket.enabled) }}
{{- fail "`docker` sets `DOCKER_HOST`: take it out of `settings`" }}
{{- end }}
{{- if .Values.docker.hostSocket.enabled }}
{{- if .Values.docker.host }}
{{- fail "`docker.host` and `docker.hostSocket` are two daemons: set one of them" }}
{{- end }}
{{- if not .Values.docker.hostSocket.group }}
{{- fail "`docker.hostSocket.group` is needed: the number of the group that may use the socket" }}
{{- end }}
{{- if not .Values.server.hostNetwork }}
{{- fail "`docker.hostSocket` needs `server.hostNetwork`: kind publishes its cluster on the loopback of the node" }}
{{- end }}
{{- end }}
{{- if and .Values.ec2KeyPairs.secret (hasKey .Values.settings "EC2_PRIVATE_KEY_BASE_PATH") }}
{{- fail "`ec2KeyPairs.secret` sets `EC2_PRIVATE_KEY_BASE_PATH`: take it out of `settings`" }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
{{- fail "`ingress.hosts` is needed: the names under which the server is reached" }}
{{- end }}
{{- end }}
