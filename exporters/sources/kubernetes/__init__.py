"""What a Kubernetes API server says, read into nouns: live by `exporters.sources.kubernetes.pods`.

``api`` asks the server, ``watch`` follows its collections and keeps the state, also over a restart; ``pod_facts``,
``nodes``, ``resource_claims``, ``owners`` and ``claims`` say what an object means (pure, but for the owners' reads).
``kube_history`` reads what a Prometheus recorded of the past.
"""
