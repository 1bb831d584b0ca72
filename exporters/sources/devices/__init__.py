"""What cards do: dcgm-exporter's pages, and the fan-out over many endpoints that device sources share."""
