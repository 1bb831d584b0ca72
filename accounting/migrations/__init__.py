"""The ledger's migrations, run by `accounting.schema.open_ledger`. One file in versions/ is one step."""
