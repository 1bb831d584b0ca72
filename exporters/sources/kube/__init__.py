"""What a Kubernetes API server says, read into nouns: the parts behind `exporters.sources.pods`.

``api`` asks the server, ``watch`` follows one collection; ``facts``, ``nodes``, ``devices``, ``owners`` and ``claims``
say what an object means (pure, but for the owners' reads); ``book`` keeps the state, ``resume`` over a restart.
"""
