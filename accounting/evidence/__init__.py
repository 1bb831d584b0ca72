"""What is known of every machine at every moment, as node-days ready to be reconciled."""
