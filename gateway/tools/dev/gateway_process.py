"""The gateway of `sse-gateway dev`, in a process of its own: one that its page can restart.

`run` is that process. Its standard input is a pipe from its parent: first what it has to serve,
then nothing until the parent ends, even by `kill -9`; then this process ends too.
"""

import asyncio
import logging
import os
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from gateway import log
from gateway.access import ownership
from gateway.app import COMPONENTS, create_application
from gateway.errors import GatewayError
from gateway.server import Server, stop_signal
from gateway.settings import Settings
from gateway.tools.dev.commands import Forwarder
from gateway.tools.dev.control import Offer, add_control
from gateway.tools.dev.heard import heard_by

_SUBSCRIBED_WITHIN = 1.0
"""Seconds to wait for the subscription, so that the printed commands work at once."""

_STOP_SECONDS = 10.0
"""Seconds after the drain time until a process that has not stopped is killed."""


@dataclass(frozen=True, slots=True)
class Task:
    """What the process is to serve."""

    settings: Settings
    offer: Offer
    socket: Path
    """Where the parent takes commands."""


class GatewayEnded(GatewayError):
    """The gateway's process has ended by itself, and has said why."""


class GatewayProcess:
    """The gateway's process, as its parent sees it: `start`, `restart`, `stop`."""

    def __init__(self, task: Task, *command: str) -> None:
        """*command*: starts a process that calls `run`."""
        self._task = task
        self._command = command
        self._process: Process | None = None
        self._ended = asyncio.Event()
        self._changing = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None
        self._restarting: asyncio.Task[None] | None = None
        self.url = ""
        """Where the gateway listens, once it does."""

    async def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            GatewayEnded: it cannot; it has said why.
        """
        self.url = ""
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            # Its own session: on Ctrl-C the parent stops it, before Redis.
            start_new_session=True,
        )
        if process.stdin is not None and process.stdout is not None:
            process.stdin.write(pickle.dumps(self._task))
            self.url = (await process.stdout.readline()).decode().strip()
        if not self.url:
            raise GatewayEnded("The gateway did not start: see the lines above.")
        # The same port after a restart.
        port = urlsplit(self.url).port
        settings = self._task.settings.model_copy(update={"port": port})
        self._task = replace(self._task, settings=settings)
        self._watch = asyncio.create_task(self._report_end(process), name="gateway's process")

    async def restart(self) -> None:
        """Begin to stop it as a service manager does, and to start it again at the same address.

        It does not wait: the gateway itself passes the command on, and has to answer it first.
        """
        self._restarting = asyncio.create_task(self._restart(), name="restart of the gateway")

    async def _restart(self) -> None:
        async with self._changing:
            await self._end()
            try:
                await self.start()
            except GatewayEnded:
                self._ended.set()

    async def ended(self) -> None:
        """Wait until it has ended by itself."""
        await self._ended.wait()

    async def stop(self) -> None:
        """Let it close its streams, and wait for its end."""
        async with self._changing:
            await self._end()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._task.settings.drain_seconds + _STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._watch is not None:
            await self._watch

    async def _report_end(self, process: Process) -> None:
        await process.wait()
        if process is self._process:
            self._ended.set()


async def _serve(task: Task) -> None:
    stopped = stop_signal()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stopped.set)
    application = create_application(task.settings)
    components = application[COMPONENTS]
    forwarder = Forwarder(task.socket)
    runs = heard_by(components)
    guard = add_control(
        application, components.hub, runs, task.settings, task.offer, forwarder.published
    )
    forwarder.add_routes(application, guard)
    server = Server(task.settings, application)
    try:
        await server.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_SUBSCRIBED_WITHIN):
                await components.subscription.confirmed()
        os.write(sys.stdout.fileno(), f"{server.url}\n".encode())
        await stopped.wait()
    finally:
        await server.stop()
        await forwarder.close()


def run() -> None:
    """Serve what standard input says, until that ends or a signal comes.

    Raises:
        GatewayError: the gateway cannot start.
    """
    # Nobody but the parent can write to that pipe.
    task: Task = pickle.load(sys.stdin.buffer)  # noqa: S301
    log.configure(task.settings.log_format, task.settings.log_level)
    # The banner says it.
    ownership.log.setLevel(logging.ERROR)
    uvloop.run(_serve(task))
