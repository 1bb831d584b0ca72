"""The watches of a cluster: lists followed by events, kept in a store, told as snapshots."""
