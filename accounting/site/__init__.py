"""A site's books: its settings wired to a ledger, and what each verb does there. Plumbing; what it means is below."""
