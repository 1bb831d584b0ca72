"""Upper floor: what was true, and who pays. Intake, reconciliation, the ledger, rating and statements.

Imports run one way: this floor may import `exporters`, never the other way round (held by import-linter).
"""
