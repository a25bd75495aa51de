{{- define "jibe-sqs.name" -}}
{{- if contains "jibe-sqs" .Release.Name }}{{ .Release.Name }}{{ else }}{{ printf "%s-jibe-sqs" .Release.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "jibe-sqs.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "jibe-sqs.name" .) }}
{{- end }}

{{- define "jibe-sqs.selector" -}}
app.kubernetes.io/name: jibe-sqs
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "jibe-sqs.labels" -}}
{{ include "jibe-sqs.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "jibe-sqs.image" -}}
{{- $image := .Values.image }}
{{- $repository := required "image.repository is missing, such as 111122223333.dkr.ecr.us-east-1.amazonaws.com/jibe-sqs" $image.repository }}
{{- if $image.digest }}{{ $repository }}@{{ $image.digest }}{{ else }}{{ $repository }}:{{ $image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The configuration as text. */}}
{{- define "jibe-sqs.config" -}}
{{- $config := required "config is missing: --set-file config=jibe-config.json" .Values.config }}
{{- if kindIs "string" $config }}{{ $config }}{{ else }}{{ toPrettyJson $config }}{{ end }}
{{- end }}

{{/* The configuration as an object (JSON), after a check of what the other objects of the chart depend on. */}}
{{- define "jibe-sqs.checked" -}}
{{- /* `helm lint` goes on without a configuration. */}}
{{- $config := include "jibe-sqs.config" . | default `{"http": {}}` | mustFromJson }}
{{- $http := $config.http | default dict }}
{{- if or (ne ($http.host | toString) "*") (not $http.port) }}
{{- fail "config.http must have the host \"*\" and a port, such as {\"host\": \"*\", \"port\": 8080}: the probes ask there" }}
{{- end }}
{{- range list "login" "password" }}
{{- if hasKey ($config.access_anywhere | default dict) . }}
{{- fail (printf "config.access_anywhere.%s is in the secret, not in the configuration, which many may read" .) }}
{{- end }}
{{- end }}
{{- if kindIs "string" $config.drain_timeout }}
{{- fail "config.drain_timeout must be a number of seconds: the chart adds 35 to it" }}
{{- end }}
{{- $shared := or .Values.ledgerTable (eq ($config.ledger | default dict).kind "dynamodb") }}
{{- if and (or (gt (int .Values.replicas) 1) .Values.keda.enabled) (not $shared) }}
{{- fail "several pods need the ledger in DynamoDB: set ledgerTable" }}
{{- end }}
{{- toJson $config }}
{{- end }}
