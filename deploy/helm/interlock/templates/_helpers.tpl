{{- /* The image of a service. Takes a list: the root, and the name of the service. */ -}}
{{- define "interlock.image" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $digest := (index $root.Values.services $name).digest -}}
{{- printf "%s/%s" $root.Values.image.registry $name -}}
{{- if $digest -}}@{{ $digest }}{{- else -}}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}{{- end -}}
{{- end }}

{{- /* Labels that every object has. */ -}}
{{- define "interlock.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/part-of: interlock
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}
