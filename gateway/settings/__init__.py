"""Every setting of the gateway: the table (`table`, `access`) and how it is read (`reading`)."""

from gateway.events.ending import TERMINAL_TYPES
from gateway.settings.checks import CONFIG_VARIABLE, PREFIX, variable
from gateway.settings.reading import load, raw, sources
from gateway.settings.redis_url import EMBEDDED_REDIS, check_redis_url
from gateway.settings.table import Settings

__all__ = [
    "CONFIG_VARIABLE",
    "EMBEDDED_REDIS",
    "PREFIX",
    "TERMINAL_TYPES",
    "Settings",
    "check_redis_url",
    "load",
    "raw",
    "sources",
    "variable",
]
