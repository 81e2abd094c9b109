"""Listening sockets: TCP or unix, opened here or by systemd (socket activation)."""

import errno
import os
import socket
from pathlib import Path
from typing import NamedTuple

from gateway.errors import CannotListen, ConfigurationError
from gateway.settings import Settings, variable
from gateway.systemd import inherited_sockets

BACKLOG = 4096
"""Connections that may wait to be accepted: a restart brings all tabs back at once."""

_UNIX_MODE = 0o660

_ADMIN = "admin"
"""FileDescriptorName of the operators' socket."""

_ADMIN_HOST = "127.0.0.1"
"""Only this machine may see who watches what; a proxy may let others in."""

_WITH_ADMIN_HOST = (_ADMIN_HOST, "localhost", "0.0.0.0", "::")  # noqa: S104 - only compared
"""Hosts that include it."""

Address = Path | tuple[str, int]
"""A unix socket, or a host and a port."""


class Listeners(NamedTuple):
    """The listening sockets of one process."""

    main: socket.socket | None
    """None for a recorder, which serves operators alone."""
    admin: socket.socket | None
    is_inherited: bool
    """Whether `main` is systemd's: who connects while no gateway runs waits in its queue."""

    def close(self) -> None:
        """Close both sockets."""
        for sock in (self.main, self.admin):
            if sock is not None:
                sock.close()


def listen(settings: Settings) -> Listeners:
    """The sockets that systemd has passed, else those of the settings. The one that systemd calls
    `admin` is for operators.

    Raises:
        CannotListen: an address is taken or not allowed.
        ConfigurationError: readers and operators have the same address.
    """
    if settings.is_recorder:
        return Listeners(None, _listen_admin(settings, None), is_inherited=False)
    inherited = inherited_sockets()
    mains = [sock for name, sock in inherited if name != _ADMIN]
    admins = [sock for name, sock in inherited if name == _ADMIN]
    if len(mains) > 1 or len(admins) > 1:
        names = ", ".join(name for name, _ in inherited)
        raise CannotListen(
            f"systemd passed the sockets {names}, but the gateway takes one, and one called "
            f"{_ADMIN}: remove the others from the socket units."
        )
    where = settings.unix_socket or (settings.host, settings.port)
    main = mains[0] if mains else _listen(where, "port", "unix_socket")
    try:
        # Accepted connections inherit these.
        set_options(main, settings)
        admin = admins[0] if admins else _listen_admin(settings, main)
    except BaseException:
        main.close()
        raise
    return Listeners(main, admin, bool(mains))


def admin_address(settings: Settings) -> Address | None:
    """Where the gateway is to listen for operators, if it is."""
    if settings.admin_unix_socket is None and settings.admin_port is None:
        return None
    return settings.admin_unix_socket or (_ADMIN_HOST, settings.admin_port or 0)


def same_address(main: Address, settings: Settings) -> str | None:
    """What is wrong with the settings if operators have no address beside *main*, as a sentence."""
    admin = admin_address(settings)
    if isinstance(admin, tuple) and isinstance(main, tuple):
        is_same = main[0] in _WITH_ADMIN_HOST and main[1] == admin[1] != 0
        field, shown = "admin_port", str(admin[1])
    else:
        is_same = main == admin
        field, shown = "admin_unix_socket", str(admin)
    if not is_same:
        return None
    return f"{variable(field)}: {shown} is where readers connect: give operators another address."


def _listen_admin(settings: Settings, main: socket.socket | None) -> socket.socket | None:
    if main is not None and (mistake := same_address(_address_of(main), settings)):
        raise ConfigurationError([mistake])
    where = admin_address(settings)
    return None if where is None else _listen(where, "admin_port", "admin_unix_socket")


def _address_of(listener: socket.socket) -> Address:
    name = listener.getsockname()
    return Path(name) if listener.family == socket.AF_UNIX else (name[0], name[1])


def _listen(where: Address, *fields: str) -> socket.socket:
    """*fields*: the settings with which to choose another address."""
    shown = where if isinstance(where, Path) else f"{where[0]}:{where[1]}"
    try:
        if isinstance(where, Path):
            listener = _listen_unix(where)
        else:
            family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
            # By default Python takes `::` for IPv6 alone.
            both = where[0] == "::" and socket.has_dualstack_ipv6()
            listener = socket.create_server(
                where, family=family, backlog=BACKLOG, dualstack_ipv6=both
            )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(
                f"Another program already listens on {shown}: stop it, or choose another address "
                f"with {' or '.join(map(variable, fields))}."
            ) from None
        # Python refuses a path that is too long, without a strerror.
        why = error.strerror or error
        raise CannotListen(f"The gateway cannot listen on {shown}: {why}.") from None
    listener.setblocking(False)
    return listener


def set_options(sock: socket.socket, settings: Settings) -> None:
    """Set the options of connections: on a listening socket for all of them, or on each one, for
    listeners that Gunicorn has opened. *sock* may be asyncio's `TransportSocket`."""
    # The most kernel memory that a frozen reader can use.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer_bytes)
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # A peer that disappeared without a FIN never acknowledges its heartbeat.
        milliseconds = int(settings.peer_timeout_seconds * 1000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _listen_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        # Not a chmod afterwards: for a moment anyone could connect.
        umask = os.umask(0o777 & ~_UNIX_MODE)
        try:
            listener.bind(str(path))
        finally:
            os.umask(umask)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    """Remove the socket file of a gateway that was killed, but not one in use."""
    if not path.is_socket():
        # To bind there would fail as if another program listened.
        if path.exists():
            raise OSError(errno.EEXIST, "there is a file, which is no socket")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A process that hangs, with a full queue, would block this one.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def url_of(listener: socket.socket) -> str:
    """The URL of *listener*."""
    address = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{address}"
    host = f"[{address[0]}]" if listener.family == socket.AF_INET6 else address[0]
    return f"http://{host}:{address[1]}"
