"""The ledger's database: tables, migrations, opening, rows to nouns and back, and which days' evidence has changed."""
