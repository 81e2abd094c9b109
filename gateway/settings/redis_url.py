"""The checks of REDIS_URL, and the parser of its Sentinel form, which redis-py does not have.

All mistakes are found before the first connection, and no message quotes a part of the URL that may
be a password.
"""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio.connection import SSLConnection, parse_url
from redis.exceptions import RedisError

EMBEDDED_REDIS = "embedded://"
LOCAL_REDIS = "redis://localhost:6379/0"
SENTINEL_PORT = 26379

_TLS = ("rediss", "rediss+sentinel")
_SENTINEL = ("redis+sentinel", "rediss+sentinel")
_SCHEMES = ("redis", "rediss", "unix", *_SENTINEL)

_SENTINEL_PARAMETERS = {"sentinel_username", "sentinel_password"}
_TLS_PARAMETERS = {
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_ciphers",
    "ssl_keyfile",
    "ssl_min_version",
    "ssl_password",
}
# Not all of redis-py's: decode_responses and protocol would change its answers.
_PARAMETERS = {"client_name", "db", "health_check_interval", "password", "username"}

_ESCAPE = (
    "it is not a URL: write it like redis://user:password@host:6379/0, with % and two hexadecimal "
    "digits for each special character of the password"
)


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """A parsed Sentinel URL; *options* are redis-py's for a connection."""

    sentinels: tuple[tuple[str, int], ...]
    master: str
    """The name by which the sentinels know it."""
    tls: bool
    options: Mapping[str, Any] = field(repr=False)
    """For connections to the master."""
    sentinel_options: Mapping[str, Any] = field(repr=False)
    """For connections to the sentinels."""


def check_redis_url(url: str) -> str:
    """*url*, if it is valid (`embedded://` is not: it has no server).

    Raises:
        ValueError: says why; quotes only names of parameters and files.
    """
    parts = _split(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"start it with one of {', '.join(_SCHEMES)} and ://")
    if parts.scheme in _SENTINEL:
        sentinel = parse_sentinel_url(url)
        _check_parameters(parts.scheme, {**sentinel.options, **sentinel.sentinel_options})
    elif parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2] or not parts.path:
            raise ValueError("write unix:///run/redis/redis.sock?db=0, with three slashes")
        _check_parameters(parts.scheme, dict(parse_url(url)))
    else:
        _address(parts.netloc.rpartition("@")[2] or "localhost", 6379)
        _check_database(parts.path.removeprefix("/"))
        _check_parameters(parts.scheme, dict(parse_url(url)))
    return url


def is_sentinel_url(url: str) -> bool:
    """Whether *url* names sentinels rather than a server."""
    return url.partition("://")[0] in _SENTINEL


def is_tls_url(url: str) -> bool:
    """Whether connections of *url* are encrypted."""
    return url.partition("://")[0] in _TLS


def parse_sentinel_url(url: str) -> SentinelUrl:
    """Read `redis+sentinel://[user:password@]host[:port][,…]/MASTER[/db][?…]`.

    Raises:
        ValueError: as `check_redis_url` does.
    """
    parts = _split(url)
    login, at, hosts = parts.netloc.rpartition("@")
    master, _, database = parts.path.removeprefix("/").partition("/")
    if not master:
        raise ValueError(
            "name the master after the sentinels: redis+sentinel://host:26379/MASTER/0"
        )
    _check_database(database)
    # The rest is as for a server.
    options = dict(parse_url(f"redis://{login}{at}/{database}?{parts.query}"))
    shared = {name: value for name, value in options.items() if name in _TLS_PARAMETERS}
    asked = {name: options.pop(name) for name in _SENTINEL_PARAMETERS & options.keys()}
    return SentinelUrl(
        sentinels=tuple(_address(host, SENTINEL_PORT) for host in hosts.split(",")),
        master=unquote(master),
        tls=parts.scheme in _TLS,
        options=options,
        sentinel_options=shared
        | {name.removeprefix("sentinel_"): value for name, value in asked.items()},
    )


def shown(url: str) -> str:
    """*url* without any part that may be a password, for messages."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        # Its message may quote the password.
        raise ValueError(_ESCAPE) from None


def _address(host: str, port: int) -> tuple[str, int]:
    """Host and port; *port* is the default."""
    try:
        parts = urlsplit(f"//{host}")
        if parts.hostname and parts.netloc == host and parts.port != 0:
            return parts.hostname, parts.port or port
    except ValueError:
        pass
    # A password with a slash looks like a host with a wrong port.
    raise ValueError(_ESCAPE)


def _check_database(database: str) -> None:
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError("its path must end with the number of a database, like /0")


def _check_parameters(scheme: str, options: Mapping[str, Any]) -> None:
    known = _PARAMETERS | {"host", "port", "path", "connection_class"}
    if scheme in _TLS:
        known |= _TLS_PARAMETERS
    if unknown := sorted(options.keys() - known):
        raise ValueError(f"it has parameters that are not supported there: {', '.join(unknown)}")
    if scheme in _TLS:
        _check_tls({name: options[name] for name in _TLS_PARAMETERS & options.keys()})


def _check_tls(options: Mapping[str, Any]) -> None:
    """Build what redis-py will build, to find missing or wrong files at the start."""
    for name in ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"):
        if name in options and not os.access(options[name], os.R_OK):
            raise ValueError(f"{name} names {options[name]}, which cannot be read")
    try:
        SSLConnection(**options).ssl_context.get()
    except (ssl.SSLError, RedisError, OSError, ValueError) as error:
        named = ", ".join(sorted(options)) or "the system's certificates"
        raise ValueError(f"TLS cannot be set up with {named}: {error}") from None
