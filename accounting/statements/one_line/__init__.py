"""One line of a statement: what it is, by which price it came to its amount, and on what evidence it stands."""
