"""Looks at settings that are valid, and still may not be what was meant."""

from gateway.settings import Settings, variable
from gateway.tools.check.finding import Finding, Topic

STOP_TIMEOUT = 40.0
"""Seconds: `TimeoutStopSec` of the unit in systemd/."""

MARGIN = 10.0
"""Seconds that stopping takes at most beside the drain."""

_USUAL_SILENCE = 60.0
"""Seconds without a byte after which most proxies cut a connection."""

_TOPIC = Topic("Settings")


def check_settings(settings: Settings) -> list[Finding]:
    """Findings about the settings as such."""
    found = [_TOPIC.ok("The settings are complete, and each is valid.")]
    if settings.drain_seconds + MARGIN > STOP_TIMEOUT:
        found.append(
            _TOPIC.warning(
                f"{variable('drain_seconds')} is {settings.drain_seconds:g}: with the unit's "
                f"TimeoutStopSec of {STOP_TIMEOUT:g} systemd kills the gateway in its drain.",
                f"Set TimeoutStopSec to {settings.drain_seconds + MARGIN:g} or more.",
            )
        )
    if settings.heartbeat_seconds >= _USUAL_SILENCE:
        found.append(
            _TOPIC.warning(
                f"{variable('heartbeat_seconds')} is {settings.heartbeat_seconds:g}: most proxies "
                f"cut a stream that is silent for {_USUAL_SILENCE:g} s.",
                "Set it to 30 or less.",
            )
        )
    if settings.ownership == "token":
        found.append(
            _TOPIC.note(
                "Ownership is `token`: any valid token may watch any execution, whatever its "
                "organization, unless its claim `executions` says which.",
                f"{variable('ownership')}=registry keeps organizations apart.",
            )
        )
    if "*" in settings.cors_origins:
        found.append(
            _TOPIC.note(
                f"{variable('cors_origins')} is *: pages of any origin may read.",
                "List the origins of your pages.",
            )
        )
    return found
