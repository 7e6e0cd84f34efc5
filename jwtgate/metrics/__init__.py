"""Metrics and traces: ``jwtgate.metrics.prometheus`` and ``jwtgate.metrics.otel``, each with an extra. Loads neither.

What is told, as Prometheus has it; ``jwtgate.metrics.table`` says what each means, and how OpenTelemetry calls it.

    counters
        jwtgate_requests_total{verdict, reason}
        jwtgate_cache_hits_total
        jwtgate_cache_misses_total
        jwtgate_look_ups_total
        jwtgate_store_failures_total{operation}
        jwtgate_lease_lapses_total
        jwtgate_fences_total{reason}
        jwtgate_healings_total
        jwtgate_rulings_written_total{kind, target}
        jwtgate_unproven_revocations_total
        jwtgate_sessions_started_total
        jwtgate_sessions_refreshed_total
        jwtgate_refresh_tokens_reused_total
        jwtgate_connections_opened_total
        jwtgate_connections_ended_total{reason}
    gauges
        jwtgate_cached_tokens
        jwtgate_store_up
        jwtgate_view_live
        jwtgate_view_complete
        jwtgate_view_age_seconds
        jwtgate_lease_left_seconds
        jwtgate_view_rulings
        jwtgate_live_connections
        jwtgate_gates
    histograms
        jwtgate_store_call_seconds{operation}
        jwtgate_propagation_seconds
"""
