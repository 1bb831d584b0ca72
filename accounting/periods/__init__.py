"""What closes a month: what is still open in it, what it is closed with, its seal, and the proofs."""
