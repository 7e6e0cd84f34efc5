"""Metrics and traces: ``jwtgate.metrics.prometheus`` and ``jwtgate.metrics.otel``, each with an extra. Loads neither."""
