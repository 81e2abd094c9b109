"""What takes part in one run of a scenario: Redis, gateways, and executions with their people.

Scenarios act on it; `tests.delivery.play` says how a run begins and ends.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.bus.registry import register
from gateway.contract.scripts import HistoryLimits
from tests.delivery.account import check_kept, read_history
from tests.delivery.backends import Backend, SingleRedis
from tests.delivery.cluster_backend import ClusterRedis
from tests.delivery.habits import Absent, Fidgety, Late
from tests.delivery.journal import Allowed, Journal, Names
from tests.delivery.producers import BareProducer, Producer, PublisherProducer, Publishes
from tests.delivery.publishers import present_publisher, replicated_publisher
from tests.delivery.reader import Reader
from tests.harness.gateway_process import GatewayProcess
from tests.harness.redis_process import as_gateway
from tests.support import DEADLINE

Kind = Literal["publisher", "bare", "mixed"]
"""How the events of an execution are announced: one way, the other, or both at once."""

GATEWAYS = 2
SETTINGS = {
    "GATEWAY_OWNERSHIP": "token",
    "GATEWAY_HEARTBEAT_SECONDS": "0.5",
    "GATEWAY_DRAIN_SECONDS": "0.3",
}

WATCHES = {"GATEWAY_SUBSCRIPTION": "execution", "GATEWAY_RECORD_BARE_EVENTS": "off"}
"""Settings of gateways that subscribe to single executions."""

R = TypeVar("R", bound=Reader)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens in a run, and to whom."""

    disturb: Callable[["Stage"], Awaitable[None]]
    before_the_end: Callable[["Stage"], Awaitable[None]] | None = None
    """Happens just before each terminal event."""
    kinds: Sequence[Kind] = ("publisher", "bare", "mixed")
    """One execution for each."""
    readers: Sequence[type[Reader]] = (Reader, Reader, Fidgety, Late, Absent)
    """Of each execution."""
    allowed: Allowed = field(default_factory=Allowed)
    bare_in_order: bool = True
    """False where subscriptions break: one that begins again may have a bare event recorded before
    an older one that another gateway is just about to record."""
    backend: Callable[[], Backend] = SingleRedis
    settings: Mapping[str, str] = field(default_factory=dict)
    limits: HistoryLimits = field(default_factory=HistoryLimits)
    """Of histories, as publishers have them; *settings* must say the same."""
    publishers: Sequence[Callable[..., Publishes]] = (present_publisher,)
    """One worker for each, where an execution has any that does not only PUBLISH."""
    recorders: int = 0
    """Processes that record bare messages for gateways that do not hear them."""
    by_http: Callable[[Sequence[GatewayProcess]], Publishes] | None = None
    """One worker more of each execution, which publishes through the gateways."""

    @property
    def watches(self) -> bool:
        """Whether its gateways subscribe to single executions."""
        return self.settings.items() >= WATCHES.items()


@dataclass(slots=True)
class Execution:
    """One execution, its producers, and all its readers."""

    id: str
    kind: Kind
    producers: list[Producer] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its producers shall come to an end."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its terminal event was announced."""


class Stage:
    """All that takes part in one run. What happens by chance is drawn from the seed."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self.chance = random.Random(seed)
        self.names = Names()
        self.backend = scenario.backend()
        self.gateways: list[GatewayProcess] = []
        self.recorders: list[GatewayProcess] = []
        self.executions: list[Execution] = []
        self.tasks: asyncio.TaskGroup | None = None
        """Set while the run lasts; a task that fails ends it."""
        self._redis: Redis | None = None

    async def open(self) -> None:
        """Start Redis and the gateways, and bring producers and readers; none of them begins."""
        await self.backend.start()
        self._redis = self.backend.observer()
        settings = {"REDIS_URL": as_gateway(self.backend.url), **SETTINGS, **self.scenario.settings}
        self.gateways = [GatewayProcess(settings) for _ in range(GATEWAYS)]
        settings = {**settings, "GATEWAY_LOG_FORMAT": "json"}
        self.recorders = [
            GatewayProcess(settings, command="recorder") for _ in range(self.scenario.recorders)
        ]
        # A start takes a second of CPU, and has a deadline: not all at once.
        await asyncio.gather(*[gateway.start() for gateway in self.gateways])
        await asyncio.gather(*[recorder.start() for recorder in self.recorders])
        await self.subscribed()
        for number, kind in enumerate(self.scenario.kinds):
            execution = self.add_execution(f"run-{number}-{kind}", kind)
            if self.scenario.by_http is not None:
                # What another producer has begun is nobody's, and refused by HTTP.
                await register(self.redis, execution.id, "acme")

    async def close(self) -> None:
        """Stop everything, whatever has happened."""
        await asyncio.gather(*[process.clean_up() for process in self.processes])
        for producer in self.producers():
            await producer.close()
        if self._redis is not None:
            await self._redis.aclose()
        await self.backend.clean_up()

    @property
    def processes(self) -> list[GatewayProcess]:
        """All that have a subscription while they run."""
        return [*self.gateways, *self.recorders]

    @property
    def redis(self) -> Redis:
        """A client of the master."""
        assert self._redis is not None
        return self._redis

    def producers(self) -> list[Producer]:
        return [producer for execution in self.executions for producer in execution.producers]

    def readers(self, habit: type[R]) -> list[R]:
        """All readers of exactly this habit."""
        everybody = [reader for execution in self.executions for reader in execution.readers]
        return [reader for reader in everybody if type(reader) is habit]

    def add_reader(
        self, execution: Execution, habit: type[R], gateway: GatewayProcess | None = None
    ) -> R:
        """Bring another reader, who stays with *gateway*, or picks one for each connection."""
        name = f"{habit.__name__} {len(execution.readers)} of {execution.id}"
        journal = Journal(execution.id, self.names, self.scenario.allowed)
        chance = self.chance_of(name)
        reader = habit(
            name,
            lambda: (gateway or chance.choice(self.gateways)).port,
            journal,
            execution.over,
            chance,
        )
        execution.readers.append(reader)
        return reader

    def chance_of(self, name: str) -> random.Random:
        """The chance of one participant: what others do does not change what it draws."""
        return random.Random(f"{self.seed} {name}")

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Let *work* go on beside everything else; the run does not end without it."""
        assert self.tasks is not None
        return self.tasks.create_task(work)

    async def pause(self, shortest: float, longest: float) -> None:
        """Let things happen for a while (seconds)."""
        await asyncio.sleep(self.chance.uniform(shortest, longest))

    async def subscriptions(self) -> list[str]:
        """The ids of the gateways' subscriptions, as Redis knows its clients."""
        clients = await self.redis.client_list(_type="pubsub")
        # A sentinel subscribes to one channel, a gateway to a pattern, to several channels or to
        # those of a shard.
        return [
            one["id"]
            for one in clients
            if (one["psub"], one.get("ssub", "0")) != ("0", "0") or int(one["sub"]) > 1
        ]

    async def subscribed(self) -> None:
        """Wait until every gateway that runs is subscribed."""

        async def check() -> None:
            links = await asyncio.to_thread(self._links)
            wanted = links * sum(gateway.is_running for gateway in self.gateways)
            # These subscribe to the pattern.
            wanted += sum(recorder.is_running for recorder in self.recorders)
            found = len(await self.subscriptions())
            assert found == wanted, f"{found} subscriptions, and not {wanted}"

        await insist(check)

    async def all_kept(self) -> None:
        """Wait until history has what was promised so far: a bare message is promised once gateways
        have been sent it, and recorded a moment later."""

        async def check() -> None:
            for execution in self.executions:
                check_kept(await read_history(self.redis, execution.id), execution.producers)

        await insist(check)

    def _links(self) -> int:
        """How many subscriptions a gateway has."""
        if self.scenario.watches and isinstance(self.backend, ClusterRedis):
            return len(self.backend.cluster.primaries)
        return 1

    @contextmanager
    def uncertain(self, *, only_bare: bool = False) -> Iterator[None]:
        """Redis may lose what is announced in this block; *only_bare*: by a bare PUBLISH."""
        with ExitStack() as stack:
            for producer in self.producers():
                if isinstance(producer, BareProducer) or not only_bare:
                    stack.enter_context(producer.uncertain())
            yield

    def add_execution(self, execution_id: str, kind: Kind) -> Execution:
        """Bring an execution with its producers and readers; none of them begins."""
        execution = Execution(execution_id, kind)
        self.executions.append(execution)
        options = {"publish_to": "both"} if self.scenario.watches else {}
        for number, publisher in enumerate(self.scenario.publishers if kind != "bare" else ()):
            name = f"publisher {number} of {execution.id}"
            producer = PublisherProducer(
                publisher(self.backend.url, self.scenario.limits, **options),
                execution.id,
                name,
                self.chance_of(name),
                self.names,
            )
            producer.survives = publisher is replicated_publisher
            execution.producers.append(producer)
        if self.scenario.by_http is not None:
            name = f"worker without Redis of {execution.id}"
            http = self.scenario.by_http(self.gateways)
            producer = PublisherProducer(http, execution.id, name, self.chance_of(name), self.names)
            execution.producers.append(producer)
        if kind != "publisher":
            name = f"bare producer of {execution.id}"
            # A repeated PUBLISH is another event.
            client = self.backend.client(retry=Retry(NoBackoff(), 0), socket_timeout=None)
            execution.producers.append(
                BareProducer(client, execution.id, name, self.chance_of(name))
            )
        for habit in self.scenario.readers:
            self.add_reader(execution, habit)
        return execution


async def insist(check: Callable[[], Awaitable[None]], timeout: float = DEADLINE) -> None:
    """Repeat *check* until it holds; after *timeout* seconds, let its complaint through."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        try:
            return await check()
        except AssertionError:
            if loop.time() > deadline:
                raise
            await asyncio.sleep(0.02)
