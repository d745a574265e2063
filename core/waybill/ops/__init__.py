"""What operators ask a running process: health and readiness over HTTP or by a file, circuits, metrics."""

__all__: list[str] = []
