"""The page in the language of its user. What it looked like stays in `artefacts/`."""

import re
import subprocess
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import orjson
import pytest
from playwright.async_api import BrowserContext, Page, expect
from redis.asyncio import Redis

import gateway.client
import gateway.page
from gateway.access.tokens import issue
from gateway.bus.registry import register
from tests.browser.dev_page import kept, publish, shown
from tests.browser.tab import Tab
from tests.browser.test_first_minute import MOST_BYTES, SIZES
from tests.conftest import StartGateway
from tests.npm import NODE
from tests.support import SECRET
from tests.tools.dev.conftest import StartViewer

PAGE = Path(gateway.page.__file__).parent
CLIENT = Path(gateway.client.__file__).parent
# Texts with a number or a reason are functions.
READ = """
const [en, pt, {front}] = await Promise.all(process.argv.slice(1).map((one) => import(one)));
const values = (one) => typeof one === "object" ? Object.values(one).flatMap(values)
  : typeof one === "function" ? [1, 2].map((count) => one(count, count)) : [one];
const {html, texts: {statuses}} = pt;
console.log(JSON.stringify({html, front, statuses, en: values(en), pt: values({...pt, front})}));
"""
DOCUMENTS = {"html": "index.html", "front": "front.html"}
# What the user reads or hears, or will when it is shown.
ALL_TEXTS = """() => [
  document.title, document.body.innerText,
  ...[...document.querySelectorAll('body *')].flatMap((one) => [
    'text' in one.dataset ? one.textContent : '',
    one.title, one.placeholder, one.getAttribute('aria-label')]),
].filter(Boolean).join('\\n')"""


class Named(HTMLParser):
    """The texts of a document by the keys that its elements name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._key = ""

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._key = values.get("data-text") or ""
        for name in ("aria-label", "placeholder", "title", "content", "href"):
            if key := values.get(f"data-{name}"):
                self.found.append((key, values[name] or ""))

    def handle_data(self, data: str) -> None:
        if self._key:
            self.found.append((self._key, " ".join(data.split())))
        self._key = ""


def named(document: str) -> list[tuple[str, str]]:
    """The English texts of *document*, which has them itself, by their keys."""
    parser = Named()
    parser.feed((PAGE / document).read_text(encoding="utf-8"))
    # The gateway's health, by its name.
    return [(key, text) for key, text in parser.found if key != "$status"]


@pytest.fixture(scope="module")
def texts() -> dict[str, Any]:
    """By their keys `html` and `front`, those of the documents in Portuguese, and `statuses`; `en`
    and `pt`: all."""
    files = [(PAGE / name).as_uri() for name in ("en.js", "pt.js", "front_texts.js")]
    command = [NODE, "--input-type=module", "-e", READ, *files]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    read: dict[str, Any] = orjson.loads(done.stdout)
    read["en"] += [text for document in DOCUMENTS.values() for _, text in named(document)]
    return read


@pytest.fixture
async def tab(window: BrowserContext) -> AsyncIterator[Tab]:
    """A tab of a browser whose user prefers Brazilian Portuguese."""
    assert window.browser is not None
    context = await window.browser.new_context(
        locale="pt-BR", viewport={"width": 1280, "height": 1100}
    )
    yield Tab(await context.new_page())
    await context.close()


def words(text: str) -> set[str]:
    # Types of events, ids, commands and units are the same in each language.
    same = r"\S+:\S+|my-run|sse-gateway token|\d (?:d|h|min|s|ms)\b"
    text = re.sub(same, " ", text.lower())
    return set(re.findall(r"[^\W\d_]+", text))


async def check_portuguese(page: Page, texts: dict[str, Any]) -> None:
    assert await page.get_attribute("html", "lang") == "pt-BR"
    english = words("\n".join(texts["en"])) - words("\n".join(texts["pt"]))
    assert {"run", "the", "failed"} < english
    assert words(await page.evaluate(ALL_TEXTS)) & english == set()


async def test_a_run_in_portuguese(
    start_viewer: StartViewer, redis: Redis, tab: Tab, texts: dict[str, Any]
) -> None:
    """From the empty list to the end of a run no English word of the page is left, and decimals are
    written with a comma; nothing scrolls sideways on a phone. It is as small
    as it must be in English."""
    principal = await start_viewer(pace=None)
    # One connection is cut on purpose.
    cut = "ERR_INCOMPLETE_CHUNKED_ENCODING"
    async with shown(tab, principal.url, expected_errors=cut) as page:
        await expect(page.get_by_text("Nenhuma execução ainda")).to_be_visible()
        await check_portuguese(page, texts)
        await kept(page, "portuguese-empty")
        await register(redis, "my-run", "dev-org", "faturas")
        await publish(redis, "step:completed", node_type="assinatura", duration_ms=1500)
        await publish(redis, "execution:paused", reason="aprovação")
        await expect(page.locator("#chosen-title")).to_have_text("faturas")
        await expect(page.locator("#status")).to_have_text("pausada")
        await expect(page.locator("#outcome")).to_contain_text("Espera por aprovação, desde")
        await page.locator("#trial-buttons button").first.click()
        await expect(page.locator("#trial-verdict")).to_have_text(
            "Nada se perdeu, e nada chegou duas vezes.", timeout=15_000
        )
        await expect(page.locator("#connection-words")).to_have_text("ao vivo")
        row = page.locator("#timeline li").filter(has_text="assinatura")
        await expect(row.locator(".lasted")).to_have_text("1,5 s")
        await row.hover()
        await expect(row.locator(".details")).to_contain_text("feito")
        await check_portuguese(page, texts)
        await kept(page, "portuguese")
        await publish(redis, "execution:failed", error_message="sem saldo")
        await expect(page.locator("#status")).to_have_text("falhou")
        await expect(page.locator("#list li")).to_contain_text("falhou · 1 passo")
        await expect(page.locator("#connection-words")).to_have_text("em dia")
        await check_portuguese(page, texts)
        await page.set_viewport_size({"width": 390, "height": 844})
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        await kept(page, "portuguese-phone")
        sizes = await page.evaluate(SIZES)
        files = [name for name in sizes if re.search("/page/|/client/|[0-9]/$", name)]
        assert f"{principal.url}/page/pt.js" in files
        assert sum(sizes[name] for name in files) <= MOST_BYTES


async def test_a_refused_sign_in_in_portuguese(
    start_gateway: StartGateway, tab: Tab, texts: dict[str, Any]
) -> None:
    """What the gateway refuses, in English, is shown in the page's language."""
    gateway = await start_gateway(ownership="token", page=True)
    async with shown(tab, gateway.url, expected_errors="status of 40[134]") as page:
        problems = {
            "nenhum": "O token não é válido",
            "\u2603": "um caractere que nenhum token tem",
            issue(SECRET, organization_id="outra"): "O token não é desta organização",
        }
        for token, problem in problems.items():
            await page.fill("#token", token)
            await page.fill("#organization", "acme")
            await page.click("#sign-in button")
            await expect(page.locator("#sign-in-problem")).to_contain_text(problem)
        await check_portuguese(page, texts)
        await kept(page, "portuguese-sign-in")


async def test_the_page_that_is_switched_off_in_portuguese(
    start_gateway: StartGateway, tab: Tab, texts: dict[str, Any]
) -> None:
    gateway = await start_gateway(ownership="token")
    async with shown(tab, gateway.url) as page:
        await expect(page.locator("h2")).to_have_text("Este gateway está saudável.")
        # The names of settings.
        await page.evaluate("document.querySelectorAll('code').forEach((one) => one.remove())")
        await check_portuguese(page, texts)


@pytest.mark.parametrize("table", DOCUMENTS)
def test_without_javascript_the_english_text_stands_in_the_documents(
    texts: dict[str, Any], table: str
) -> None:
    """Every text of a document's table is in it, and none is there with two texts, or without
    one."""
    found = named(DOCUMENTS[table])
    assert len(set(found)) == len(dict(found))
    assert all(text for _, text in found)
    assert dict(found).keys() == texts[table].keys() - {"healthy", "unhealthy"}


def test_statuses_are_those_of_the_portuguese_guide(texts: dict[str, Any]) -> None:
    guide = " ".join((CLIENT / "README.pt-BR.md").read_text(encoding="utf-8").split())
    for status, word in texts["statuses"].items():
        assert f"`{status}` ({word}" in guide
