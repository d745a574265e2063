"""Traces and metrics by OpenTelemetry's messaging conventions, and logs that machines read. Nothing here is imported by the
core; what needs the extra `otel` says so when it is."""

__all__: list[str] = []
