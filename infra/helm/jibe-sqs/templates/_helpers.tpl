{{- define "jibe-sqs.name" -}}
{{- if not (regexMatch "^[a-z][a-z0-9-]*$" .Release.Name) }}
{{- fail (printf "the release %s needs a name of a-z, 0-9 and -, with a letter first: so a Service is named" .Release.Name) }}
{{- end }}
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
{{- if kindIs "string" $config }}{{ trim $config }}{{ else }}{{ toPrettyJson $config }}{{ end }}
{{- end }}

{{/* The configuration as an object (JSON), after a check of what the other objects of the chart depend on. */}}
{{- define "jibe-sqs.checked" -}}
{{- /* `helm lint` goes on without a configuration. */}}
{{- $config := include "jibe-sqs.config" . | default `{"http": {}}` | mustFromJson }}
{{- $http := ternary $config.http dict (kindIs "map" $config.http) }}
{{- $port := int $http.port }}
{{- if or (ne ($http.host | toString) "*") (lt $port 1) (gt $port 65535) }}
{{- fail "config.http must have the host \"*\" and a port, such as {\"host\": \"*\", \"port\": 8080}: the probes ask there" }}
{{- end }}
{{- range list "login" "password" }}
{{- if hasKey ($config.access_anywhere | default dict) . }}
{{- fail (printf "config.access_anywhere.%s is in the secret, not in the configuration, which many may read" .) }}
{{- end }}
{{- end }}
{{- if hasKey $http "password" }}
{{- fail "config.http.password is a secret: name one in extraEnv, as JIBE_HTTP__PASSWORD" }}
{{- end }}
{{- if and (hasKey $http "login") .Values.serviceMonitor.enabled }}
{{- fail "with config.http.login, the metrics ask for a password that the ServiceMonitor does not have" }}
{{- end }}
{{- if hasKey $config "drain_timeout" }}
{{- if not (and (kindIs "float64" $config.drain_timeout) (gt (float64 $config.drain_timeout) 0.0)) }}
{{- fail "config.drain_timeout must be a number of seconds above 0: the chart adds 35 to it" }}
{{- end }}
{{- end }}
{{- $shared := or .Values.ledgerTable (eq ($config.ledger | default dict).kind "dynamodb") }}
{{- if and (or (gt (int .Values.replicas) 1) .Values.keda.enabled) (not $shared) }}
{{- fail "several pods need the ledger in DynamoDB: set ledgerTable" }}
{{- end }}
{{- toJson $config }}
{{- end }}
