"""Alert rules for Prometheus: what each one looks for, at which threshold, and whose job it hurts.

`thresholds.yaml` holds every number with its source, `groups/` what is looked for, and `rules/` the plain Prometheus
rule files that `python -m alerts` makes of both.
"""
