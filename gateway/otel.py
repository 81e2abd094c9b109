"""Whether spans are exported, as the environment says (OPERATIONS.md).

Apart from `gateway.tracing`, which imports OpenTelemetry: a gateway without spans does not load it.
"""

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.tracing import Tracing

log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def tracing_from_environment() -> "Tracing | None":
    """Exports spans where the environment says where to; None where it does not."""
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return None
    if not exporter and not any(os.environ.get(name) for name in _ENDPOINTS):
        return None
    if exporter not in ("", "otlp"):
        log.warning("No spans are exported: OTEL_TRACES_EXPORTER is %s, not otlp.", exporter)
        return None
    try:
        from gateway.tracing import Tracing
    except ImportError as error:
        log.warning("No spans are exported (%s): pip install 'sse-gateway[otel]'.", error)
        return None
    try:
        return Tracing()
    except ValueError as error:
        log.warning("No spans are exported: an OTEL_ variable is not valid (%s).", error)
        return None
