{{/* Not empty if there is more than one bridge. */}}
{{- define "imbridge.several" -}}
{{- if gt (int .Values.replicas) 1 }}yes{{ end -}}
{{- end }}

{{/* values.config as TOML. Helm's own toToml writes every number from a file as a float, which is not valid as an app id. */}}
{{- define "imbridge.config" -}}
# Made by the chart from values.config.
{{- $server := dict "listen" "0.0.0.0:8080" -}}
{{- if include "imbridge.several" . }}
{{- $wanted := dig "server" "answer_after" "kafka" .Values.config }}
{{- if ne $wanted "kafka" }}
{{- fail (printf "config.server.answer_after is %q with replicas: %v. Events of different bridges have no order unless an answer waits for Kafka: leave the key out or set it to \"kafka\", or set replicas: 1" $wanted .Values.replicas) }}
{{- end }}
{{- $_ := set $server "answer_after" "kafka" }}
{{- end }}
{{- $fixed := dict "server" $server "admin" (dict "listen" "0.0.0.0:9464") "spool" (dict "dir" "/var/lib/imbridge") -}}
{{- if include "imbridge.ownRegistry" . }}{{ $_ := set $fixed "schemas" (dict "listen" "0.0.0.0:8081") }}{{ end -}}
{{- $config := mustMergeOverwrite (deepCopy .Values.config) $fixed -}}
{{- range $name := keys $config | sortAlpha }}
{{- $part := get $config $name }}
{{- if kindIs "slice" $part }}
{{- range $part }}

[[{{ $name }}]]
{{- include "imbridge.table" (dict "name" $name "table" .) }}
{{- end }}
{{- else if $part }}

[{{ $name }}]
{{- include "imbridge.table" (dict "name" $name "table" $part) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Not empty if the bridges serve their schemas themselves. */}}
{{- define "imbridge.ownRegistry" -}}
{{- if not (dig "schemas" "registry_url" "" .Values.config) }}yes{{ end -}}
{{- end }}

{{/* The keys of one table, then the tables inside it. A line feed begins each line. */}}
{{- define "imbridge.table" -}}
{{- $inner := list }}
{{- range $key := keys .table | sortAlpha }}
{{- $value := get $.table $key }}
{{- if kindIs "map" $value }}
{{- $inner = append $inner $key }}
{{- else }}
{{ include "imbridge.key" $key }} = {{ include "imbridge.value" $value }}
{{- end }}
{{- end }}
{{- range $key := $inner }}

[{{ $.name }}.{{ $key }}]
{{- $texts := get $.table $key }}
{{- range $name := keys $texts | sortAlpha }}
{{ include "imbridge.key" $name }} = {{ include "imbridge.text" (get $texts $name) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "imbridge.key" -}}
{{- ternary . (toJson .) (regexMatch "^[A-Za-z0-9_-]+$" .) -}}
{{- end }}

{{- define "imbridge.value" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end }}

{{/* A value of kafka.properties or kafka.topic_config: always a string, even if YAML read a number. */}}
{{- define "imbridge.text" -}}
{{- if kindIs "string" . }}{{ toJson . }}{{ else }}"{{ include "imbridge.value" . }}"{{ end -}}
{{- end }}
