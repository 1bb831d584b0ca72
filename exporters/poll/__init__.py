"""The registry: polls each source on its own clock and keeps its last good data; and the recorder's queue."""
