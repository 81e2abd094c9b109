"""The aiohttp application of one gateway, and what runs it.

It does not listen: that is `gateway.server`, or Gunicorn, whose workers call `create_app`.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway import process
from gateway.admin.routes import create_admin
from gateway.bus.probe import refuse_wrong_kind
from gateway.components import Components
from gateway.errors import ConfigurationError
from gateway.http.access_log import access_log
from gateway.http.connection import Connections
from gateway.http.cors import add_cors
from gateway.http.credentials import token_cookie
from gateway.http.lists import ListHandler
from gateway.http.poll_answers import PollAnswers
from gateway.http.publish import PublishHandler
from gateway.http.publish_body import Bodies
from gateway.http.request_limits import request_limits_middleware
from gateway.http.responses import add_fallback, error_middleware
from gateway.http.routes import TicketHandler, health_handler
from gateway.http.runner import FORCED_AFTER, Runner
from gateway.http.runs import RunsHandler
from gateway.http.screen import SET_TICKET_PATH
from gateway.http.set_request import SET_PATH
from gateway.http.sets import SetHandler
from gateway.http.static import add_page, client_handler
from gateway.http.stream import StreamHandler
from gateway.listener import set_options
from gateway.log import configure
from gateway.settings import EMBEDDED_REDIS, Settings, load, variable

log = logging.getLogger(__name__)


COMPONENTS: web.AppKey[Components] = web.AppKey("components", Components)


def create_application(settings: Settings) -> web.Application:
    """The aiohttp application; its background tasks run from its start-up to its clean-up."""
    components = Components(settings)
    application = web.Application(
        middlewares=[
            error_middleware(components.metrics),
            request_limits_middleware(settings.header_timeout_seconds, publish=settings.publish),
        ],
    )
    application[COMPONENTS] = components
    # First: the router tries one route after the other, and producers ask most often.
    if settings.publish:
        _add_publishing(application, components, settings)
    of_producers = set(application.router.routes())
    _add_handlers(application, components, settings)
    # No page of another origin may publish.
    of_pages = [route for route in application.router.routes() if route not in of_producers]
    add_cors(application, settings, of_pages)
    add_page(application, components.health, is_on=settings.page)
    add_fallback(application)
    application.cleanup_ctx.append(_running)
    application.on_shutdown.append(_drain)
    return application


def _add_handlers(application: web.Application, components: Components, settings: Settings) -> None:
    access = components.access
    cookie = token_cookie(settings)
    tracing = components.tracing
    handler: Callable[..., StreamHandler] = tracing.stream_handler if tracing else StreamHandler
    stream = handler(
        access.policy,
        access.quota,
        settings.trusted_proxies,
        components.hub,
        components.subscription,
        components.heartbeat,
        components.expiry,
        settings.ownership_wait_seconds,
        settings.own_endings,
        cookie,
    )
    answers = PollAnswers(components.stalls, components.metrics, settings.poll_seconds)
    runs = RunsHandler(
        access.policy, access.quota, components.registry, components.documents, answers, cookie
    )
    lists = ListHandler(stream, access.lists, components.lists, answers)
    ticket = TicketHandler(access.policy, access.quota, access.tickets)
    router = application.router
    executions = "/api/v1/sse/executions/{execution_id}"
    # HEAD would run the stream handler, and its body would corrupt the connection's next response.
    router.add_get(f"{executions}/stream", stream.handle, allow_head=False)
    # One execution's handler has a span of its own.
    with_span: Callable[[Handler], Handler] = tracing.opening if tracing else lambda one: one
    router.add_get(SET_PATH, with_span(SetHandler(stream).handle), allow_head=False)
    router.add_post(f"{executions}/ticket", ticket.handle)
    router.add_post(SET_TICKET_PATH, ticket.handle_set)
    router.add_post(
        "/api/v1/sse/organizations/{organization_id}/executions/ticket", ticket.handle_list
    )
    organizations = "organizations/{organization_id}/executions"
    router.add_get(f"/api/v1/{organizations}", lists.page)
    router.add_get(f"/api/v1/sse/{organizations}/stream", with_span(lists.stream), allow_head=False)
    router.add_get("/api/v1/workflows/{workflow_id}/runs/{execution_id}", runs.handle)
    router.add_get("/api/v1/sse/health", health_handler(components.health))
    router.add_get("/api/v1/sse/client/{name}", client_handler())


def _add_publishing(
    application: web.Application, components: Components, settings: Settings
) -> None:
    handler = PublishHandler(
        components.access.publish_policy,
        components.access.publish_limits,
        components.publishing,
        components.rules,
        Bodies(settings.header_timeout_seconds),
    )
    execution = "/api/v1/sse/executions/{execution_id}"
    application.router.add_post(f"{execution}/events", handler.events)
    application.router.add_put(execution, handler.register)
    application.router.add_post(f"{execution}/restart", handler.restart)


async def create_app() -> web.AppRunner:
    """A gateway for Gunicorn's aiohttp workers. Its settings come from the environment; where it
    listens is set in Gunicorn.

    Raises:
        ConfigurationError: lists every mistake.
    """
    settings = load()
    if settings.redis_url == EMBEDDED_REDIS:
        raise ConfigurationError(
            [f"REDIS_URL: {EMBEDDED_REDIS} is for one process: name a Redis for all workers."]
        )
    if settings.is_recorder:
        raise ConfigurationError(
            [f"{variable('record_bare_events')}: only `sse-gateway recorder` is a recorder."]
        )
    await refuse_wrong_kind(settings.redis_url)
    configure(settings.log_format, settings.log_level)
    # The proxy in front of the workers writes one; theirs would be mixed.
    access_log.setLevel(logging.WARNING)
    process.raise_file_limit()
    process.tune_gc()
    return create_runner(
        create_application(settings), settings, partial(set_options, settings=settings)
    )


def create_admin_runner(application: web.Application, settings: Settings) -> web.AppRunner:
    """The runner of the operators' address of *application*, one of `create_application`."""
    components = application[COMPONENTS]
    connections = Connections(settings.header_timeout_seconds, most=process.OPERATOR_FILES)
    admin = create_admin(components.sources, settings.admin_hosts)
    return Runner(admin, connections, components.ticker, "operators' header watch")


def create_runner(
    application: web.Application,
    settings: Settings,
    set_options: Callable[[socket.socket], None] | None = None,
) -> web.AppRunner:
    """The runner of *application*; *set_options*: see `Connections`."""
    components = application[COMPONENTS]
    connections = Connections(
        settings.header_timeout_seconds,
        set_options=set_options,
        most=process.most_connections(settings),
        streams=components.hub.__len__,
        metrics=components.metrics,
        publish=settings.publish,
    )
    return Runner(application, connections, components.ticker, "header watch")


async def _running(application: web.Application) -> AsyncIterator[None]:
    components = application[COMPONENTS]
    for name, run in components.tasks().items():
        components.supervisor.start(name, run())
    yield
    await components.stop()


async def _drain(application: web.Application) -> None:
    """Close every stream, spread over the drain time; takes `FORCED_AFTER` longer at most."""
    components = application[COMPONENTS]
    hub = components.hub
    seconds = components.drain_seconds
    log.info("Stopping: %d streams are asked to reconnect, over %g s.", len(hub), seconds)
    await hub.drain(seconds)
    # For the last bytes; a reader that does not take them is cut off by `Components.stop`.
    with suppress(TimeoutError):
        async with asyncio.timeout(FORCED_AFTER):
            await hub.empty()
