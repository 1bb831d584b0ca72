"""The kubelet's pod resources: one call of its gRPC API, and what the answer says of cards."""
