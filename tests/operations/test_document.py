"""OPERATIONS.md names every metric, reason, error code and alert that exists, and no other."""

import ast
import logging
import re
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.bus.errors import PROBLEMS
from gateway.errors import RequestRefused
from gateway.events.sse_encoder import CloseReason
from gateway.fanout.state import State
from gateway.http.screen import Fault
from gateway.metrics import PREFIX
from gateway.settings import Settings
from tests.conftest import RunningGateway, StartGateway
from tests.operations.exposition import families
from tests.support import eventually, producer_message

ROOT = Path(__file__).parents[2]
ALERTS = re.findall(r"alert: (\w+)", (ROOT / "config" / "alerts.yml").read_text())
TEXT = (ROOT / "gateway" / "OPERATIONS.md").read_text()

_AIOHTTPS = {"not_found", "method_not_allowed"}
"""Codes that are made from aiohttp's own reasons."""
_OTHERS = {"request_id", "include_logs", "proxy_buffering", "used_memory", *_AIOHTTPS}
"""Names in the document that are not the gateway's settings, metrics, codes or fields."""


def section(title: str) -> str:
    """The text under a heading of the second level."""
    found = re.search(rf"\n## {title}\n(.*?)(?=\n## |\Z)", TEXT, re.DOTALL)
    assert found is not None, title
    return found[1]


def first_column(title: str) -> set[str]:
    """The names in the first column of a section's table, without labels."""
    rows = [line for line in section(title).splitlines() if line.startswith("| `")]
    names = {name for row in rows for name in re.findall(r"`(\w+)[`{]", row.split(" | ")[0])}
    assert names, title
    return names


async def test_the_table_has_every_metric_and_no_other(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(ownership="token", admin_port=0)
    shown = set()
    for family in await families(gateway):
        if family.name.startswith(PREFIX):
            total = "_total" if family.type == "counter" else ""
            shown.add(family.name.removeprefix(PREFIX) + total)
    assert len(shown) > 25
    assert first_column("Metrics") == shown


def test_the_table_has_every_reason_for_the_end_of_a_stream() -> None:
    assert first_column("Reasons") == {"completed", "gone", *CloseReason}


def _names_of_errors() -> tuple[set[str], set[str]]:
    """The error codes in the source: those of refusals, which are counted, and those that are
    answered without an exception, which are not."""
    counted, answered = {fault.code for fault in Fault}, set()
    refusals = {"_too_many", *(refusal.__name__ for refusal in RequestRefused.__subclasses__())}
    for file in (ROOT / "gateway").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Assign([ast.Name("code")], ast.Constant(str(code))):
                    counted.add(code)
                case ast.Call(
                    ast.Name("error_response" | "final_error"), [_, ast.Constant(str(code)), *_]
                ):
                    answered.add(code)
                case ast.AugAssign(
                    ast.Subscript(ast.Attribute(_, "refusals"), ast.Constant(str(code)))
                ):
                    counted.add(code)
                case ast.Call(ast.Name(name), [_, ast.Constant(str(code))]) if name in refusals:
                    counted.add(code)
    return counted - {RequestRefused.code}, answered - counted | {RequestRefused.code}


def test_the_table_has_every_error_code_that_is_counted() -> None:
    """Those that are not counted are named below it."""
    counted, answered = _names_of_errors()
    assert len(counted) > 20
    assert len(answered) > 1
    assert first_column("Refusals") == counted
    below = set(re.findall(r"`(\w+)`", section("Refusals").partition("\nAnswered")[2]))
    assert below == {*answered, *_AIOHTTPS, "http"}


async def test_every_code_and_name_has_a_series_from_the_start(start_gateway: StartGateway) -> None:
    """Of what refuses, and of what fails: a rate needs a first value."""
    gateway = await start_gateway(ownership="token", admin_port=0)
    samples = [sample for family in await families(gateway) for sample in family.samples]
    zero = {
        label: {one.labels[label] for one in samples if one.name == f"{PREFIX}{metric}_total"}
        for metric, label in (("refusals", "code"), ("failures", "name"))
    }
    # Those of `sse-gateway dev` and of the operators' address are not counted here.
    elsewhere = {"host_not_allowed", "host_forbidden", "origin_forbidden"}
    assert zero["code"] == (_names_of_errors()[0] | {"http"}) - elsewhere
    assert zero["name"] >= gateway.components.ticker.functions.keys()


def test_the_table_has_what_is_wrong_with_redis_as_health_says_it() -> None:
    rows = re.findall(
        r"^\| `(.+?)` \| (.+) \| (.+) \|$", section("What is wrong with Redis"), re.MULTILINE
    )
    assert rows == [(code, *problem) for code, problem in PROBLEMS.items()]


def test_no_cell_of_a_table_is_empty() -> None:
    for title in ("Metrics", "Reasons", "Refusals"):
        rows = [line for line in section(title).splitlines() if line.startswith("| `")]
        assert all(cell.strip() for row in rows for cell in row.split("|")[1:-1]), title


async def test_every_name_in_the_document_exists(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(ownership="token", admin_port=0)
    await gateway.open("run-1")
    async with gateway.session.get(f"{gateway.server.admin_url}/streams") as response:
        [stream] = (await response.json())["streams"]
    metrics = {family.name for family in await families(gateway)}
    short = {name.removeprefix(PREFIX) for name in metrics}
    metrics |= short | {f"{name}_total" for name in metrics | short}
    errors = set().union(*_names_of_errors())
    states = {one.value for one in State}
    known = {*Settings.model_fields, *metrics, *errors, *CloseReason, *stream, *states, *_OTHERS}
    prose = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", prose))
    assert len(named) > 60
    assert named - known == set()


def test_what_alerts_quote_or_search_for_is_in_the_source() -> None:
    constants = [
        node.value
        for file in (ROOT / "gateway").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    said = " ".join(constants)
    alerts = " ".join(section("Alerts").split())
    looked_for = re.findall(r"""\| grep "([^"]+)"`""", alerts)
    quoted = {*looked_for, *re.findall(r'"([^"]+)"', re.sub(r"`[^`]*`", "", alerts))}
    assert len(quoted) > 5
    assert {words for words in quoted if words not in said} == set()


async def test_the_line_at_the_end_of_a_stream_has_the_fields_shown(
    gateway: RunningGateway, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.streams")
    reader = await gateway.open("run-1")
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    await reader.rest()
    await eventually(lambda: "stream ended" in caplog.text)
    [shown] = re.findall(r"^stream ended (.*)$", TEXT, re.MULTILINE)
    [line] = [one.getMessage() for one in caplog.records if "stream ended" in one.getMessage()]
    assert re.findall(r"(\w+)=", line) == re.findall(r"(\w+)=", shown)


def test_each_alert_has_a_section_with_steps() -> None:
    """No section is about an alert that does not exist."""
    _, *sections = section("Alerts").split("\n### ")
    assert {one.partition("\n")[0] for one in sections} == set(ALERTS)
    assert [one.partition("\n")[0] for one in sections if "\n1. " not in one] == []


def test_the_contract_names_every_code() -> None:
    """All that the API answers with; those that only metrics, the operators' address or the page of
    `sse-gateway dev` show are not part of it."""
    elsewhere = {
        "http",
        "connection_limit",
        "host_not_allowed",
        "host_forbidden",
        "origin_forbidden",
    }
    counted, answered = _names_of_errors()
    contract = (ROOT / "gateway" / "CONTRACT.md").read_text()
    table = contract.partition("\n| Status | `error` | |\n")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([a-z_]+)`", table))
    assert (counted | answered) - elsewhere - named == set()
