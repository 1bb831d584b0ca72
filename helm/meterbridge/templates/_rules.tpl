{{/* What the rules' ${name} stand for: the values, else what is shipped. */}}
{{- define "meterbridge.ruleWords" -}}
{{- $r := .Values.monitoring.rules }}
{{- $known := .Files.Get "files/words.yaml" | fromYaml }}
{{- range $name, $value := $r.thresholds }}
{{- if not (hasKey $known.thresholds $name) }}
{{- fail (printf "monitoring.rules.thresholds: no threshold %s; docs/alerts.md has their names" $name) }}
{{- end }}
{{- end }}
{{- $words := dict }}
{{- range $name, $value := $known.thresholds }}{{ $_ := set $words $name $value }}{{ end }}
{{- range $name, $value := $r.thresholds }}{{ $_ := set $words $name (toString $value) }}{{ end }}
{{- $_ := set $words "runbook_base" (trimSuffix "/" $r.runbookBase) }}
{{- $_ := set $words "dashboard_base" (trimSuffix "/" $r.dashboardBase) }}
{{- $_ := set $words "exporter_jobs" (printf "%s-exporter" (include "meterbridge.fullname" .)) }}
{{- $_ := set $words "service_jobs" (printf "%s-accounting" (include "meterbridge.fullname" .)) }}
{{- toYaml $words }}
{{- end }}

{{/* 1h30m as a number of seconds; any other text as it is. */}}
{{- define "meterbridge.seconds" -}}
{{- if regexMatch "^([0-9]+(ms|[ywdhms]))+$" . }}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 "w" 604800.0 "y" 31536000.0 }}
{{- $sum := 0.0 }}
{{- range $part := regexFindAll "[0-9]+(ms|[ywdhms])" . -1 }}
{{- $number := regexFind "^[0-9]+" $part }}
{{- $sum = addf $sum (mulf (float64 $number) (get $units (trimPrefix $number $part))) }}
{{- end }}
{{- if eq $sum (floor $sum) }}{{ printf "%.0f" $sum }}{{ else }}{{ $sum }}{{ end }}
{{- else }}{{ . }}{{ end }}
{{- end }}
