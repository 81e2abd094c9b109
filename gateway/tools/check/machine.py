"""Checks this machine: file descriptors, and the addresses that the gateway listens on.

An address is tried by connecting to it and by binding; nothing listens and nothing is removed.
"""

import errno
import os
import resource
import socket
from pathlib import Path

import aiohttp
import orjson

from gateway.listener import Address, admin_address, same_address
from gateway.process import other_files
from gateway.settings import Settings, variable
from gateway.tools.check.finding import Finding, Topic

MANY = 4096
"""Fewer are not enough even for a small site; the unit gives 131,072."""

HEALTH = "/api/v1/sse/health"
_LIVE = "/live"
_TIMEOUT = aiohttp.ClientTimeout(total=3)
_FILES = Topic("Open files")
_PORTS = Topic("Addresses")


def check_files(settings: Settings) -> list[Finding]:
    """Whether enough descriptors are allowed, one a stream."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [judge_files(hard, settings.max_connections, other_files(settings))]


def judge_files(hard: int, wanted: int, others: int) -> Finding:
    """The finding for at most *hard* descriptors, *others* of which are for no stream, where
    *wanted* streams are configured (0: as many as possible)."""
    streams = max(0, hard - others)
    sentence = f"{hard} files may be open here, so {streams} streams."
    remedy = (
        "Raise LimitNOFILE in the unit, or in a shell the hard limit, `ulimit -Hn`; the two may "
        "differ."
    )
    if wanted > streams:
        return _FILES.error(f"{sentence} {variable('max_connections')} asks for {wanted}.", remedy)
    if hard < MANY:
        return _FILES.warning(sentence, remedy)
    return _FILES.ok(sentence)


async def check_addresses(settings: Settings) -> list[Finding]:
    """Whether the gateway could listen, or listens already."""
    where: Address = settings.unix_socket or (settings.host, settings.port)
    found = [await _check_address(where, HEALTH, variable("port"))]
    admin = admin_address(settings)
    if admin is None:
        return [
            *found,
            _PORTS.note(
                "The admin port is off: no metrics, no readiness, no list of streams.",
                f"Set {variable('admin_port')} or {variable('admin_unix_socket')}.",
            ),
        ]
    if not settings.is_recorder and (mistake := same_address(where, settings)):
        return [*found, _PORTS.error(mistake, "Correct it: the gateway does not start before.")]
    return [*found, await _check_address(admin, _LIVE, variable("admin_port"))]


async def _check_address(where: Address, path: str, name: str) -> Finding:
    shown = str(where) if isinstance(where, Path) else f"{where[0]}:{where[1]}"
    problem = _try_unix(where) if isinstance(where, Path) else _try_tcp(*where)
    if problem is None:
        return _PORTS.ok(f"{shown} is free.")
    if problem != _TAKEN:
        return _PORTS.error(
            f"The gateway cannot listen on {shown}: {problem}.",
            f"Choose another address with {name} or its unix socket, or allow this one.",
        )
    if await _is_gateway(where, path):
        return _PORTS.ok(f"A gateway listens on {shown} already.")
    return _PORTS.error(
        f"Another program listens on {shown}.", f"Stop it, or choose another address with {name}."
    )


_TAKEN = "taken"


def _try_tcp(host: str, port: int) -> str | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the gateway does: TIME_WAIT of a closed connection must not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror as error:
            # Nothing can listen under a name that does not resolve.
            return str(error.strerror)
        except OSError as error:
            return _TAKEN if _answers(family, (host, port)) else str(error.strerror)
    return None


def _try_unix(path: Path) -> str | None:
    try:
        if _answers(socket.AF_UNIX, str(path)):
            return _TAKEN
    except OSError as error:
        # The path is too long for a socket's address.
        return str(error)
    if path.exists() and not path.is_socket():
        return "there is a file, which is no socket"
    if not path.parent.is_dir():
        return f"there is no directory {path.parent}"
    if not os.access(path.parent, os.W_OK):
        return f"this user may not write to {path.parent}"
    return None


def _answers(family: int, address: str | tuple[str, int]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(3)
        failure = probe.connect_ex(address)
    # EAGAIN: a program listens, and its backlog is full. Over TCP that is a timeout.
    return failure == 0 or (failure == errno.EAGAIN and family == socket.AF_UNIX)


async def _is_gateway(where: Address, path: str) -> bool:
    """Whether a gateway answers there, healthy or not."""
    connector, host = None, "localhost"
    if isinstance(where, Path):
        connector = aiohttp.UnixConnector(str(where))
    else:
        host = f"[{where[0]}]:{where[1]}" if ":" in where[0] else f"{where[0]}:{where[1]}"
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session,
            session.get(f"http://{host}{path}") as answer,
        ):
            document = orjson.loads(await answer.read())
    except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError):
        return False
    return isinstance(document, dict) and "status" in document
