"""Ground floor: what is true now. Sources, links, attribution, series, and the `/metrics` server.

Imports run one way: `accounting` may import `exporters`, never back (held by import-linter).
"""
