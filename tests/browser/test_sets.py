"""A browser's own EventSource follows several executions on one connection."""

from urllib.parse import quote

from redis.asyncio import Redis

from gateway.access.tokens import issue
from tests.browser.tab import Tab
from tests.conftest import StartGateway
from tests.sets.support import happen, path
from tests.support import SECRET, eventually

_FOLLOW = """url => {
  window.seen = []; window.opened = 0;
  window.source = new EventSource(url);
  source.onopen = () => { opened += 1; };
  for (const type of ["step:started", "execution:completed", "stream:ended"])
    source.addEventListener(type, event => {
      const { execution_id, id } = JSON.parse(event.data);
      seen.push(`${type} ${execution_id} ${id ?? ""}`);
    });
}"""


async def test_a_native_event_source_comes_back_to_all(
    start_gateway: StartGateway, redis: Redis, origin: str, tab: Tab
) -> None:
    """Cut off, it sees what it has missed of each, nothing twice; when all have ended it is closed
    for good."""
    gateway = await start_gateway(ownership="token", cors_origins=origin)
    token = issue(SECRET, organization_id="acme")
    credentials = f"Authorization={quote(f'Bearer {token}')}&organization_id=acme"
    await tab.page.goto(origin)
    expected = []

    async def happens(name: str, event_type: str = "step:started") -> None:
        expected.append(f"{event_type} {name} {await happen(redis, name, event_type)}")
        if event_type != "step:started":
            expected.append(f"stream:ended {name} ")

    async def sees_all() -> None:
        async def so() -> bool:
            return sorted(await tab.page.evaluate("seen")) == sorted(expected)

        await eventually(so)

    await happens("a")
    await tab.page.evaluate(_FOLLOW, f"{gateway.url}{path(['a', 'b', 'c'])}&{credentials}")
    await happens("b")
    await sees_all()
    await gateway.components.hub.cut()
    for name in "abc":
        await happens(name)
    await happens("a", "execution:completed")
    await sees_all()
    assert await tab.page.evaluate("opened") == 2
    await happens("b", "execution:completed")
    await happens("c", "execution:completed")

    async def is_closed() -> bool:
        return bool(await tab.page.evaluate("source.readyState === EventSource.CLOSED"))

    await eventually(is_closed)
    await sees_all()
