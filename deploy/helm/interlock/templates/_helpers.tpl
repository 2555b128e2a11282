{{- /* The image of a service, or of tools. Takes a list: the root, the name, and the digest or "". */ -}}
{{- define "interlock.image" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $digest := index . 2 -}}
{{- printf "%s/%s" $root.Values.image.registry $name -}}
{{- if $digest -}}@{{ $digest }}{{- else -}}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}{{- end -}}
{{- end }}

{{- /* The settings. A PodMonitor needs metrics at a port. */ -}}
{{- define "interlock.settings" -}}
{{- $settings := .Values.settings -}}
{{- if .Values.monitoring.podMonitor.enabled -}}
{{- $settings = merge (dict "OTEL_METRICS_EXPORTER" "prometheus" "OTEL_EXPORTER_PROMETHEUS_HOST" "0.0.0.0") $settings -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end }}

{{- /* Labels that every object has. */ -}}
{{- define "interlock.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/part-of: interlock
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- /* The names of the pods of all services, as a list. */ -}}
{{- define "interlock.names" -}}
{{- concat (keys .Values.services) (list "disk-control" "disk-host" "compute-control") | sortAlpha | toYaml -}}
{{- end }}

{{- /* The names of all pods that export metrics, as a list. */ -}}
{{- define "interlock.measured" -}}
{{- append (include "interlock.names" . | fromYamlArray) "vm-host" | sortAlpha | toYaml -}}
{{- end }}
