"""On a cluster: the channels that somebody needs, each at the node that serves its slot.

Every sign that a slot has moved (a `sunsubscribe` that was not requested, MOVED, a new map of the
slots) counts as a lost subscription: the channel is subscribed to again at the new node, and what
was published meanwhile is read from history.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ClusterDownError, MovedError, ResponseError

from gateway.bus.canary import Canary
from gateway.bus.cluster import Cluster
from gateway.bus.errors import describe_code
from gateway.bus.node import Node
from gateway.bus.nodes import Nodes
from gateway.bus.questions import Question
from gateway.bus.server import AnotherServer
from gateway.bus.slots import slot_of_key, target_of
from gateway.bus.watched import Command, Watched
from gateway.contract.keys import CANARY_MARK, execution_of_live, live_channel

_TRIES = 4 * REDIS_CLUSTER_HASH_SLOTS
"""Names until one is of a node's slots, which may be few."""

_MOVED_SECONDS = 10.0
"""So long after its slot has moved an event that was found in history is nobody's fault."""


class AnotherNode(AnotherServer):
    """The slot by which a link sees that it hears its node is at another one."""

    problem = "Slots of this node are at another node now: the gateway subscribes there."


class NodeCanary(Canary):
    """That of the link to one node."""

    def __init__(self, nodes: Nodes, node: Node) -> None:
        super().__init__("")
        self._nodes = nodes
        self._node = node

    def renew(self) -> None:
        """Take a channel in a slot that the node serves now.

        Raises:
            AnotherNode: it serves none.
        """
        if self._node not in self._nodes.primaries():
            raise AnotherNode
        name = secrets.token_hex(8)
        names = (f"{name}-{number}" for number in range(_TRIES))
        if (found := self._nodes.first_at(self._node, names, _canary_channel)) is None:
            raise AnotherNode
        self.instance, self.channel = found, _canary_channel(found)

    def questions(self) -> list[Question]:
        """Publishes one more, to where its slot is."""
        [question] = super().questions()
        return [question._replace(command=("SPUBLISH", *question.command[1:]))]


def _canary_channel(instance: str) -> str:
    return live_channel(f"{CANARY_MARK}{instance}")


class NodeWatched(Watched):
    """The channels of the slots of one node, and perhaps those of lists."""

    def __init__(self, prefix: str, node: Node, nodes: Nodes) -> None:
        self.canary = NodeCanary(nodes, node)
        super().__init__(prefix, self.canary.instance)
        self.name = f"the executions of {node.address[0]}:{node.address[1]} that somebody watches"
        self._node = node
        self._nodes = nodes
        self._is_begun = False
        self.on_lost: Callable[[list[bytes]], None] = lambda _: None
        """Called with channels that are not heard here any more."""

    def begin(self) -> Command:
        super().begin()
        self._is_begun = False
        self.canary.renew()
        self.first = self.canary.channel.encode()
        return ("SSUBSCRIBE", self.first)

    def take(self) -> list[Command]:
        # One command each: those of one command would have to be of one slot.
        commands = [_command("UNSUBSCRIBE", one) for one in self._leaving]
        joining = dict.fromkeys(one for one in self._joining if one in self._asked)
        commands += [_command("SUBSCRIBE", one) for one in joining]
        self._leaving, self._joining = [], []
        return commands

    def begun(self) -> None:
        """The link is confirmed."""
        self._is_begun = True

    def ended(self, channel: bytes) -> None:
        if channel == self.first:
            self.on_lost([])
            raise AnotherNode
        # Not the answer to SUNSUBSCRIBE: since that was sent, nothing has confirmed it.
        if channel in self._confirmed:
            self.on_lost([channel])

    def refused(self, refusal: ResponseError) -> None:
        is_moved = isinstance(refusal, MovedError)
        if isinstance(refusal, MovedError):
            self._nodes.moved(refusal.slot_id, target_of(refusal, self._node.address))
            if not self._is_begun:
                self.on_lost([])
                raise AnotherNode from refusal
        if not self._is_begun or not (is_moved or isinstance(refusal, ClusterDownError)):
            raise refusal
        # Of which one it was, it does not say. What is confirmed and moves is ended singly.
        self.on_lost([*self._asked])


class Placed:
    """All channels that somebody needs, for the hub and the lists."""

    def __init__(self, cluster: Cluster, prefix: str) -> None:
        self._nodes = cluster.nodes
        self._nowhere = Watched(prefix, "")
        """Those whose slot has no link, as last known."""
        self.at: dict[Node, NodeWatched] = {}
        """By the node of the link."""
        self.home: Node | None = None
        """Where lists are heard; what is PUBLISHed reaches all nodes."""
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._moved: dict[int, float] = {}
        """When each of these slots was last seen to move, or was moving."""
        self.on_due: Callable[[], None] = lambda: None
        """Called when something is to be placed again."""
        self.on_confirmed: Callable[[str], None] = lambda _: None
        """As of `Watched`."""
        self.on_list_confirmed: Callable[[str], None] = lambda _: None
        """As of `Watched`."""

    def add(self, node: Node, watched: NodeWatched) -> None:
        """*node* has a link from now on."""
        watched.on_confirmed = self._confirmed
        watched.on_list_confirmed = lambda digest: self.on_list_confirmed(digest)
        watched.on_lost = self._lost
        self.at[node] = watched

    @property
    def has_homeless(self) -> bool:
        """Whether some channels are to be placed."""
        return len(self._nowhere) > 0

    def watch(self, execution_id: str) -> None:
        """As of `Watched`."""
        holder = self._holder(live_channel(execution_id).encode())
        holder.watch(execution_id)
        if holder is self._nowhere:
            self.on_due()

    def unwatch(self, execution_id: str) -> None:
        """As of `Watched`."""
        self._holder(live_channel(execution_id).encode()).unwatch(execution_id)
        if (waiting := self._waiting.pop(execution_id, None)) is not None:
            waiting.cancel()

    def watch_list(self, digest: str) -> None:
        """As of `Watched`."""
        self._holder(self._nowhere.list_channel(digest)).watch_list(digest)

    def unwatch_list(self, digest: str) -> None:
        """As of `Watched`."""
        self._holder(self._nowhere.list_channel(digest)).unwatch_list(digest)

    def tick(self) -> None:
        """As of `Watched`."""
        for one in self._all():
            one.tick()
        before = time.monotonic() - _MOVED_SECONDS
        self._moved = {slot: at for slot, at in self._moved.items() if at > before}

    def node_of(self, execution_id: str) -> Node | None:
        """At which node it is heard."""
        channel = live_channel(execution_id).encode()
        return next((node for node, one in self.at.items() if channel in one), None)

    def problem_of(self, execution_id: str) -> str | None:
        """Why no event of it can arrive on a link that is confirmed."""
        if (node := self.node_of(execution_id)) is None:
            return describe_code("CLUSTERDOWN")
        return self.at[node].problem_of(execution_id)

    async def confirmation(self, execution_id: str) -> None:
        """Wait until it is confirmed once more."""
        if (waiting := self._waiting.get(execution_id)) is None:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting[execution_id] = waiting
        # Others may wait for it too.
        await asyncio.wait([waiting])

    def unheard(self, execution_id: str) -> None:
        """As of `Watched`."""
        moved = self._moved.get(slot_of_key(live_channel(execution_id)), float("-inf"))
        if time.monotonic() - moved > _MOVED_SECONDS:
            self._holder(live_channel(execution_id).encode()).unheard(execution_id)

    @property
    def problem(self) -> str | None:
        """As of `Watched`."""
        return next((one.problem for one in self._all() if one.problem), None)

    # For the links.

    def place(self, without: Iterable[Node] = ()) -> None:
        """Have each channel at the link of its slot; no more at those of the nodes *without*."""
        gone = [one for node in without if (one := self.at.pop(node, None)) is not None]
        for here in [*gone, *self._all()]:
            for channel in here.channels():
                there = self._target(channel)
                if there is not here and here.drop(channel):
                    there.join(channel)

    def moved(self, slots: Iterable[int]) -> None:
        """These have another node now."""
        self.note_moving(slots)
        self.on_due()

    def note_moving(self, slots: Iterable[int]) -> None:
        """Events in these slots may come late."""
        self._moved.update(dict.fromkeys(slots, time.monotonic()))

    def watched_in(self, slots: Collection[int]) -> list[str]:
        """The executions in these slots."""
        channels = [one for some in self._all() for one in some.channels() if _slot(one) in slots]
        return [one for channel in channels if (one := execution_of_live(channel)) is not None]

    def _lost(self, channels: list[bytes]) -> None:
        for channel in channels:
            for one in self.at.values():
                if channel in one and one.drop(channel):
                    self._nowhere.join(channel)
        self.moved(slot for one in channels if (slot := _slot(one)) is not None)

    def _confirmed(self, execution_id: str) -> None:
        self.on_confirmed(execution_id)
        if (waiting := self._waiting.pop(execution_id, None)) is not None and not waiting.done():
            waiting.set_result(None)

    def _all(self) -> Iterator[Watched]:
        yield self._nowhere
        yield from self.at.values()

    def _holder(self, channel: bytes) -> Watched:
        return next((one for one in self._all() if channel in one), self._target(channel))

    def _target(self, channel: bytes) -> Watched:
        slot = _slot(channel)
        node = self.home if slot is None else self._nodes.owner(slot)
        return self._nowhere if node is None else self.at.get(node, self._nowhere)


def _slot(channel: bytes) -> int | None:
    """The slot of the channel of an execution, or of a canary; that of a list has none."""
    return int(key_slot(channel)) if execution_of_live(channel) is not None else None


def _command(name: str, channel: bytes) -> Command:
    return (name if _slot(channel) is None else f"S{name}", channel)
