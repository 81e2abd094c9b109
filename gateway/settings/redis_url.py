"""The checks of REDIS_URL, and the parsers of forms that redis-py does not have: those for Sentinel
and for a cluster.

All mistakes are found before the first connection, and no message quotes a part of the URL that may
be a password.
"""

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio.connection import SSLConnection, parse_url
from redis.exceptions import RedisError

from gateway.settings.checks import variable

EMBEDDED_REDIS = "embedded://"
LOCAL_REDIS = "redis://localhost:6379/0"
REDIS_PORT = 6379
SENTINEL_PORT = 26379

_TLS = ("rediss", "rediss+sentinel", "rediss+cluster")
_SENTINEL = ("redis+sentinel", "rediss+sentinel")
_CLUSTER = ("redis+cluster", "rediss+cluster")
_SCHEMES = ("redis", "rediss", "unix", *_SENTINEL, *_CLUSTER)

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
_PARAMETERS = {"client_name", "db", "health_check_interval", "password", "username"}
_DEADLINES = "leave it out, since the gateway has its own time limits"
_ANSWERS = "leave it out, since it changes what the gateway reads"
_REMEDIES = {
    "max_connections": f"leave it out; the gateway's own is {variable('redis_pool_size')}",
    "timeout": _DEADLINES,
    "socket_timeout": _DEADLINES,
    "socket_connect_timeout": _DEADLINES,
    "socket_read_size": "leave it out",
    "socket_keepalive": "leave it out, since the gateway asks Redis every second",
    "retry_on_timeout": "leave it out, since the gateway tries again by itself",
    "retry_on_error": "leave it out, since the gateway tries again by itself",
    "protocol": _ANSWERS,
    "legacy_responses": _ANSWERS,
    "decode_responses": _ANSWERS,
    "encoding": _ANSWERS,
    "encoding_errors": _ANSWERS,
    "virtual_host": "leave it out: it is of RabbitMQ",
    "ssl_cert_reqs": "start the URL with rediss:// for TLS",
}
"""What URLs of other programs have, by name: what to do."""
# As Celery writes redis-py's names.
_CERT_REQS = re.compile(r"([?&]ssl_cert_reqs=)(?:ssl\.)?CERT_(NONE|OPTIONAL|REQUIRED)(?=&|$)")

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


@dataclass(frozen=True, slots=True)
class ClusterUrl:
    """A parsed URL of a cluster; *options* are redis-py's for a connection to each node."""

    nodes: tuple[tuple[str, int], ...]
    """Those that are asked first which nodes there are."""
    tls: bool
    options: Mapping[str, Any] = field(repr=False)


def check_redis_url(url: str) -> str:
    """*url* as redis-py reads it, if it is valid (`embedded://` is not: it has no server).

    Raises:
        ValueError: says why; quotes only names of parameters and files.
    """
    url = as_redis_py_writes(url)
    parts = _split(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"start it with one of {', '.join(_SCHEMES)} and ://")
    if parts.scheme in _SENTINEL:
        sentinel = parse_sentinel_url(url)
        _check_parameters(parts.scheme, {**sentinel.options, **sentinel.sentinel_options})
    elif parts.scheme in _CLUSTER:
        _check_parameters(parts.scheme, parse_cluster_url(url).options)
    elif parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2] or not parts.path:
            raise ValueError("write unix:///run/redis/redis.sock?db=0, with three slashes")
        _check_parameters(parts.scheme, dict(parse_url(url)))
    else:
        _address(parts.netloc.rpartition("@")[2] or "localhost", REDIS_PORT)
        _check_database(parts.path.removeprefix("/"))
        _check_parameters(parts.scheme, dict(parse_url(url)))
    return url


def as_redis_py_writes(url: str) -> str:
    """*url* with redis-py's names where it has Celery's."""
    return _CERT_REQS.sub(lambda found: found[1] + found[2].lower(), url)


def is_sentinel_url(url: str) -> bool:
    """Whether *url* names sentinels rather than a server."""
    return url.partition("://")[0] in _SENTINEL


def is_cluster_url(url: str) -> bool:
    """Whether *url* names nodes of a cluster."""
    return url.partition("://")[0] in _CLUSTER


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


def parse_cluster_url(url: str) -> ClusterUrl:
    """Read `redis+cluster://[user:password@]host[:port][,…][/0][?…]`.

    Raises:
        ValueError: as `check_redis_url` does.
    """
    parts = _split(url)
    login, at, hosts = parts.netloc.rpartition("@")
    # The rest is as for a server.
    options = dict(parse_url(f"redis://{login}{at}/?{parts.query}"))
    if not hosts:
        raise ValueError("name one or more nodes of the cluster: redis+cluster://host:6379,…")
    if parts.path not in ("", "/", "/0") or options.pop("db", 0) != 0:
        raise ValueError("a cluster has only database 0: end the URL with its nodes, or with /0")
    return ClusterUrl(
        nodes=tuple(_address(host, REDIS_PORT) for host in hosts.split(",")),
        tls=parts.scheme in _TLS,
        options=options,
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
    if options.get("protocol") == 2:
        # It is what the gateway uses.
        known |= {"protocol"}
    if unknown := sorted(options.keys() - known):
        named = "; ".join(
            f"{name} ({remedy})" if (remedy := _REMEDIES.get(name)) else name for name in unknown
        )
        raise ValueError(f"it has parameters that are not supported there: {named}")
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
