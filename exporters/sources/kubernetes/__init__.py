"""What a Kubernetes API server says, read into nouns: live by `exporters.sources.kubernetes.pods`.

``api`` asks the server, ``watch`` follows its collections and keeps the state, also over a restart; ``pod_facts``,
``times``, ``nodes``, ``owners`` and ``claims`` say what an object means (pure, but for the owners' reads), ``slots``
what it is worth in cards. ``past`` reads what a Prometheus recorded.
"""
