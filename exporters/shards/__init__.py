"""Parts of a fleet, and their sum."""
