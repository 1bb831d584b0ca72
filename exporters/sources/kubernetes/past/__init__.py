"""A cluster's past, out of a Prometheus that scraped kube-state-metrics and dcgm-exporter."""
