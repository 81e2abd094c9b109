"""Listening sockets: TCP or unix, with the options that every accepted stream inherits.

They are opened here, or systemd has opened them (socket activation) and they outlive the process.
Who accepts on them is `gateway.server`.
"""

import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import CannotListen
from gateway.settings import Settings, variable
from gateway.systemd import inherited_sockets

BACKLOG = 4096
"""Connections that may wait to be accepted: a restart brings all tabs back at once."""

_UNIX_MODE = 0o660

_ADMIN = "admin"
"""FileDescriptorName of the operators' socket."""

_ADMIN_HOST = "127.0.0.1"
"""Who watches what is nobody's business beyond this machine; a proxy may let others in."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Where one process takes connections."""

    main: socket.socket
    admin: socket.socket | None
    inherited: bool
    """Whether systemd holds the main one too: then who connects while nobody accepts, between this
    process and the next, waits and is not refused."""

    def close(self) -> None:
        """Close them, before anybody accepts on them."""
        self.main.close()
        if self.admin is not None:
            self.admin.close()


def listen(settings: Settings) -> Listeners:
    """The listening sockets: what systemd has handed over, else what the settings ask for.

    Of what is handed over, the one called `admin` is for operators.

    Raises:
        CannotListen: an address is taken or not allowed.
    """
    inherited = inherited_sockets()
    mains = [sock for name, sock in inherited if name != _ADMIN]
    admins = [sock for name, sock in inherited if name == _ADMIN]
    if len(mains) > 1 or len(admins) > 1:
        names = ", ".join(name for name, _ in inherited)
        raise CannotListen(
            f"systemd handed over the sockets {names}, and the gateway listens on one, and one "
            f"called {_ADMIN}: leave out the others in the socket units."
        )
    main = mains[0] if mains else _listen_for_all(settings)
    try:
        # Accepted connections inherit these.
        set_options(main, settings)
        admin = admins[0] if admins else _listen_for_admin(settings)
    except BaseException:
        main.close()
        raise
    return Listeners(main, admin, inherited=bool(mains))


def _listen_for_all(settings: Settings) -> socket.socket:
    return _listen(settings.unix_socket or (settings.host, settings.port), "port", "unix_socket")


def _listen_for_admin(settings: Settings) -> socket.socket | None:
    if settings.admin_unix_socket is None and settings.admin_port is None:
        return None
    where = settings.admin_unix_socket or (_ADMIN_HOST, settings.admin_port or 0)
    return _listen(where, "admin_port", "admin_unix_socket")


def _listen(where: Path | tuple[str, int], *fields: str) -> socket.socket:
    """*fields* name the settings that choose another address."""
    shown = where if isinstance(where, Path) else f"{where[0]}:{where[1]}"
    try:
        listener = _listen_unix(where) if isinstance(where, Path) else _listen_tcp(*where)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(
                f"Another program already listens on {shown}: stop it, or choose another address "
                f"with {' or '.join(map(variable, fields))}."
            ) from None
        # A path that is too long for a socket is refused by Python, without a strerror.
        why = error.strerror or error
        raise CannotListen(f"The gateway cannot listen on {shown}: {why}.") from None
    listener.setblocking(False)
    return listener


def set_options(sock: socket.socket, settings: Settings) -> None:
    """Set what a connection needs: on a listening socket for all of them, else on each.

    The latter is for listeners that somebody else has made (Gunicorn). *sock* may be the stand-in
    for a socket that an event loop gives out.
    """
    # A frozen reader ties up no more than this in the kernel.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer_bytes)
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # A peer that vanished without a FIN never acknowledges its heartbeat.
        milliseconds = int(settings.peer_timeout_seconds * 1000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _listen_tcp(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def _listen_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        # Narrow from the start: a chmod afterwards would leave a moment in which anybody connects.
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
    """Remove the socket file of a gateway that was killed, but never one that answers."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # One that hangs, and whose queue is full, would be waited for without end.
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
    """Where *listener* can be reached, for people and for tests."""
    address = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{address}"
    host = f"[{address[0]}]" if listener.family == socket.AF_INET6 else address[0]
    return f"http://{host}:{address[1]}"
