"""Records into claims, idempotent: history, what the live side recorded, backfill; what is set aside, with a reason."""
