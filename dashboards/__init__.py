"""Dashboards for Grafana, as code: six boards built with Grafana's own builders, and committed as JSON, too.

`python -m dashboards` (``make dashboards``) writes ``dashboards/json``; a test holds the two together.
`dashboards.push` brings the JSON to a Grafana; it needs no builders.
"""
