"""The ledger's migrations, run by `accounting.store.schema.open_ledger`. One file in versions/ is one step."""
