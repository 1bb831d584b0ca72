"""One file per system. Each only reads one thing and yields the nouns of `exporters.model`."""
