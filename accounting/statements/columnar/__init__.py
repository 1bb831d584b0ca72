"""The lines of a statement with types, for programs that work on columns."""
