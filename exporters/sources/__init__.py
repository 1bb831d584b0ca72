"""A room for each kind of system. A source only reads one thing and yields the nouns of `exporters.model`."""
