{{- define "sluice.labels" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sluice.join" -}}
{{- $name := .Release.Name -}}
{{- $ns := .Release.Namespace -}}
{{- $list := list -}}
{{- range $i := until (int .Values.replicas) -}}
{{- $list = append $list (printf "%s-%d.%s-peers.%s.svc:8093" $name $i $name $ns) -}}
{{- end -}}
{{- join "," $list -}}
{{- end -}}
