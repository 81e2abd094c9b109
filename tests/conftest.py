"""Fixtures: a real Redis for all tests, one of its own for a test that breaks it, and gateways."""

import gc
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import hypothesis
import pytest
from redis.asyncio import Redis

from gateway.access.tokens import issue
from gateway.app import COMPONENTS, create_application
from gateway.components import Components
from gateway.contract.acl import GATEWAY
from gateway.contract.keys import channel_pattern
from gateway.process import raise_file_limit
from gateway.server import Server
from gateway.settings import Settings, load
from tests.harness.redis_cluster import RedisCluster
from tests.harness.redis_process import Masters, RedisProcess
from tests.harness.sse import SseReader
from tests.support import DEADLINE, SECRET, eventually

# For `make fuzz`; the ordinary run draws hypothesis's usual hundred examples a test.
hypothesis.settings.register_profile(
    "fuzz", max_examples=int(os.environ.get("FUZZ_EXAMPLES", "5000")), deadline=None
)


# An example may wait for a core while other tests run beside it; each test has its timeout.
hypothesis.settings.register_profile("ordinary", deadline=None)
hypothesis.settings.load_profile("ordinary")


# A script that runs the tests in the background may have had SIGINT ignored, and programs would
# inherit that: they could not be ended as by Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _file_limit() -> None:
    raise_file_limit()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests reaches them."""
    for name in os.environ:
        if name.startswith(("GATEWAY_", "OTEL_")) or name == "REDIS_URL":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    """A command that runs in this process freezes what there is (`gateway.cli.main`). Among what is
    frozen nobody is found who refers to Hypothesis' source of chance, and it warns."""
    yield
    gc.unfreeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--on-cluster", action="store_true", help="the shared Redis is a cluster")


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisProcess | RedisCluster]:
    """The Redis that tests share."""
    on_cluster = request.config.getoption("--on-cluster")
    process = RedisCluster() if on_cluster else RedisProcess()
    process.start()
    yield process
    process.clean_up()


@pytest.fixture
def redis_url(redis_server: RedisProcess) -> str:
    """The shared Redis, empty."""
    redis_server.command("FLUSHALL")
    return redis_server.url


@pytest.fixture
async def redis(redis_url: str, redis_server: RedisProcess | RedisCluster) -> AsyncIterator[Redis]:
    """A client of the shared Redis."""
    async with (
        redis_server.client()
        if isinstance(redis_server, RedisCluster)
        else Redis.from_url(redis_url) as client
    ):
        yield client


@pytest.fixture
def redis_process() -> Iterator[Callable[..., RedisProcess]]:
    """Starts a Redis of the test's own, which it may kill, suspend and restart."""
    processes: list[RedisProcess] = []

    def start(*arguments: str, program: str | None = None) -> RedisProcess:
        process = RedisProcess(*arguments, program=program)
        process.start()
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.clean_up()


@pytest.fixture(scope="session")
def cluster_server() -> Iterator[RedisCluster]:
    """The cluster that tests share: three primaries, and no replicas."""
    cluster = RedisCluster()
    cluster.start()
    yield cluster
    cluster.clean_up()


@pytest.fixture
def cluster(cluster_server: RedisCluster) -> RedisCluster:
    """The shared cluster, empty; a test leaves its slots where they are."""
    cluster_server.command("FLUSHALL")
    return cluster_server


@pytest.fixture
def redis_cluster() -> Iterator[Callable[..., RedisCluster]]:
    """Starts a cluster of the test's own, whose nodes it may kill and suspend."""
    clusters: list[RedisCluster] = []

    def start(*arguments: str, **options: Any) -> RedisCluster:
        clusters.append(RedisCluster(*arguments, **options))
        clusters[-1].start()
        return clusters[-1]

    yield start
    for one in clusters:
        one.clean_up()


MakeSettings = Callable[..., Settings]


@pytest.fixture
def masters() -> Iterator[Masters]:
    """Two servers, and a sentinel that names the first until a test has it name the second."""
    masters = Masters()
    masters.start()
    yield masters
    masters.clean_up()


@pytest.fixture
def subscription() -> str:
    """How gateways subscribe. A file of tests that hold in both ways replaces it."""
    return "pattern"


@pytest.fixture
def make_settings(redis_server: RedisProcess, redis_url: str, subscription: str) -> MakeSettings:
    """Settings for a test: a secret, a free port, short times, and in the shared Redis no more
    rights than a gateway needs; every one can be overridden."""

    def make(**overrides: Any) -> Settings:
        if prefix := overrides.get("channel_prefix"):
            redis_server.command("ACL", "SETUSER", GATEWAY.name, f"&{channel_pattern(prefix)}")
        # A room may have a Redis of its own in the place of the shared one.
        is_shared = redis_url == redis_server.url
        defaults = {
            "redis_url": redis_server.gateway_url if is_shared else redis_url,
            "jwt_secret": SECRET,
            "port": 0,
            "admin_port": "off",
            "drain_seconds": 0.1,
        }
        if subscription == "execution":
            # Bare messages come from a recorder: see `start_gateway`.
            defaults |= {"subscription": "execution", "record_bare_events": "off"}
        # By tokens alone only a Redis that is away lets a stream wait. It has the shipped time:
        # other tests are at work.
        if overrides.get("ownership") != "token":
            defaults["ownership_wait_seconds"] = 1.0
        return load(None, **{**defaults, **overrides})

    return make


class RunningGateway:
    """A gateway on a real socket, with a client that has credentials."""

    def __init__(
        self, server: Server, components: Components, session: aiohttp.ClientSession
    ) -> None:
        self.server = server
        self.components = components
        self.session = session
        self.url = server.url
        self.responses: list[aiohttp.ClientResponse] = []

    def stream_url(self, execution_id: str) -> str:
        return f"{self.url}/api/v1/sse/executions/{execution_id}/stream"

    async def get(self, execution_id: str, **headers: str) -> aiohttp.ClientResponse:
        """Ask for a stream as organization `acme`; *headers* with _ for -."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self.session.get(
            self.stream_url(execution_id), headers={**credentials(), **given}
        )
        # A stream lives as long as its test, also when the test lets go of it.
        self.responses.append(response)
        return response

    def close_streams(self) -> None:
        for response in self.responses:
            response.close()

    async def open(self, execution_id: str, **headers: str) -> SseReader:
        """An open stream that has shown `connected`."""
        response = await self.get(execution_id, **headers)
        assert response.status == 200, await response.text()
        reader = SseReader(response)
        await reader.expect("connected")
        return reader

    async def health(self) -> tuple[int, dict[str, str]]:
        async with self.session.get(f"{self.url}/api/v1/sse/health") as response:
            return response.status, await response.json()

    async def healthy(self) -> bool:
        return (await self.health())[0] == 200


StartGateway = Callable[..., Awaitable[RunningGateway]]


def credentials(organization: str = "acme", **claims: Any) -> dict[str, str]:
    """Headers with a valid token of *organization*."""
    token = issue(SECRET, organization_id=organization, **claims)
    return {"Authorization": f"Bearer {token}", "X-Organization-ID": organization}


@pytest.fixture
async def start_gateway(make_settings: MakeSettings) -> AsyncIterator[StartGateway]:
    """Starts gateways on real sockets and waits until they are healthy (`wait=False`: does not).
    One that subscribes to single executions has a *recorder* beside it."""
    async with AsyncExitStack() as stack:

        async def start(
            *, wait: bool = True, recorder: bool = True, **overrides: Any
        ) -> RunningGateway:
            settings = make_settings(**overrides)
            if settings.watches and recorder:
                await record(settings.model_copy(update={"record_bare_events": "only"}))
            application = create_application(settings)
            server = Server(settings, application)
            await server.start()
            stack.push_async_callback(server.stop)
            session = await stack.enter_async_context(
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=0),
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=DEADLINE),
                )
            )
            gateway = RunningGateway(server, application[COMPONENTS], session)
            stack.callback(gateway.close_streams)
            if wait:
                await eventually(gateway.healthy)
            return gateway

        async def record(settings: Settings) -> None:
            application = create_application(settings)
            recorder = Server(settings, application)
            await recorder.start()
            stack.push_async_callback(recorder.stop)
            await application[COMPONENTS].subscription.confirmed()

        yield start


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """A gateway that trusts a valid token alone."""
    return await start_gateway(ownership="token")
