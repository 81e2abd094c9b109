"""What a stranger wrote is shown by every command, and obeyed by no terminal."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

import gateway
from gateway.bus.revocations import MEMBERS_KEY
from gateway.cli.output import console, echo
from gateway.contract.keys import meta_key
from gateway.harmless import harmless, harmless_json, harmless_lines
from gateway.tools.loadtest import report
from gateway.tools.loadtest.findings import RunStats, sum_up
from gateway.tools.loadtest.ledger import Account, Ledger
from gateway.tools.tail.follow import Happened
from gateway.tools.tail.stream import Waiting
from gateway.tools.tail.view import View
from tests.harness.gateway_process import run

ORDERS = "".join(
    one for one in map(chr, range(0x10000)) if not one.isprintable() and not one.isspace()
)
"""Every character of the first plane that a terminal might obey or hide, half surrogates too."""

NASTY = (
    "\x1b]0;evil\x07 \x1b[31m \x9b31m \x7f \r \t \u202e \u2028 \u200b \x85 [red]x[/red] :smile: [/]"
)

ANY_TEXT = st.text(max_size=60) | st.text(st.sampled_from(ORDERS[:80]), max_size=20)


def assert_harmless(shown: str) -> None:
    """Nothing but what prints, and line ends."""
    left = {one for one in shown if not one.isprintable()} - {"\n"}
    assert not left, f"{left!r} in {shown!r}"


@given(ANY_TEXT)
@example(ORDERS)
@example("\U000e0001")
def test_any_text(text: str) -> None:
    """Whatever the text, one line of printable characters comes of it; what prints stays as it
    was, and words of our own keep their lines."""
    assert harmless(text).isprintable()
    assert_harmless(harmless_lines(text))
    assert harmless_lines(text).count("\n") == text.count("\n")
    printed = "".join(one for one in text if one.isprintable())
    assert harmless(printed) == printed


@given(st.recursive(ANY_TEXT | st.integers(-9, 9), lambda one: st.lists(one, max_size=3)))
@example({"\x7f\u202e\U000e0001": "\x9b"})
def test_any_json(document: object) -> None:
    """A document means the same afterwards, in one line, however it was laid out."""
    try:
        given_ = orjson.dumps(document, option=orjson.OPT_INDENT_2)
    except orjson.JSONEncodeError:
        # Half a surrogate pair is no text that JSON could hold.
        return
    shown = harmless_json(given_)
    assert shown.isprintable()
    assert orjson.loads(shown) == document


@given(st.binary(max_size=60))
def test_no_json(body: bytes) -> None:
    """What is no JSON, nor UTF-8, is harmless too."""
    assert harmless_json(body).isprintable()


@given(ANY_TEXT)
@example(NASTY)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_consoles(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Neither lines, nor the view of any event, nor the report of a load test print more than
    words, and what looks like markup is words."""
    echo(text)
    echo(text, err=True)
    view = View("run-1", console())
    # Half surrogates and all, as a stream may hold them.
    body = b'{"type":"a","timestamp":"%b","data":{"node_type":"%b"}}' % ((_in_json(text),) * 2)
    view.show(Happened(text, body))
    view.show(Happened("stream:gap", body.replace(b"timestamp", b"missed")))
    view.show(Waiting(text, 1.0))
    account = Account("run-1", 5, problem=text)
    ledger = Ledger([account])
    ledger.interruptions[text] = 2
    report.show(sum_up(ledger, RunStats(5, 0, 0.0, 1.0)), console())
    out, err = capsys.readouterr()
    assert_harmless(out)
    assert_harmless(err)


def _in_json(text: str) -> bytes:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return re.sub(r"[\x00-\x1f]", lambda one: f"\\u{ord(one[0]):04x}", text).encode(
        "utf-8", "surrogatepass"
    )


async def test_from_redis(redis: Redis, redis_url: str) -> None:
    """What Redis holds is shown by `status` and `revoke --list` without being obeyed: each
    value in one line, and markup as it stands."""
    nasty = f"{NASTY}\norganization_id mine".encode()
    await redis.hset(
        meta_key("run-1"), mapping={"organization_id": nasty, "workflow_id": b"\x1b[2J\xff"}
    )
    await redis.zadd(MEMBERS_KEY, {b"subject:" + nasty: 2e9})
    for words in (("status", "run-1"), ("revoke", "--list")):
        code, out, err = await run(*words, REDIS_URL=redis_url, COLUMNS="400")
        assert (code, err) == (0, "")
        assert_harmless(out)
        assert "\\u001b]0;evil\\u0007" in out
        assert "[red]x[/red] :smile: [/]" in out
        lines = [line for line in out.splitlines() if "u001b" in line]
        assert len(lines) == (2 if words[0] == "status" else 1)


ASKING_REDIS = (
    ("status", "run-1"),
    ("revoke", "--list"),
    ("revoke", "--subject", "somebody"),
    ("register", "run-1", "--organization", "acme"),
    ("publish", "run-1", "step:started"),
    ("check",),
    ("check", "--json"),
)


@pytest.mark.parametrize("words", ASKING_REDIS, ids=" ".join)
async def test_a_redis_of_somebody_else(words: tuple[str, ...]) -> None:
    """A program that answers at the address of Redis puts nothing but words on the terminal."""
    async with answering(b"-ERR " + NASTY.replace("\r", "").encode() + b"\r\n") as address:
        code, out, err = await run(*words, REDIS_URL=f"redis://{address}/0")
    assert code == 1
    assert out + err
    assert_harmless(out)
    assert_harmless(err)


RAW = NASTY.encode()
JSON = NASTY.replace("\x1b", "").replace("\x07", "").replace("\r", "").replace("\t", "").encode()
HOSTILE_ANSWERS = {
    "refusal": b"HTTP/1.1 403 \x9b31m\xc2\x9b31m\r\nContent-Length: 999\r\n\r\n"
    b'{"error":"\xc2\x9b2J","message":"\xe2\x80\xae\x7f\\u001b]0;evil\\u0007"}'.ljust(999),
    "passing": b"HTTP/1.1 503 X\r\nContent-Length: 99\r\n\r\n"
    b'{"status":"unhealthy","reason":"\xc2\x9b2J\xe2\x80\xae","message":"\\u001b]0;"}'.ljust(99),
    "garbage": b"HTTP/1.1 \x1b]0;evil\x07\r\n\r\n",
    "header": b"HTTP/1.1 200 OK\r\nX-\x1b[31m: \x1b[31m\r\n\r\n",
    "stream": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    b'event: connected\ndata: {"status":"\xc2\x9b","heartbeat_seconds":1}\n\n'
    b'event: stream:gap\ndata: {"missed":"\\u001b[31m"}\n\n'
    b"event: \x1b[31m\xe2\x80\xae\nid: \x1b\n"
    b'data: {"type":"' + JSON + b'",\ndata: "data":{"node_type":"\\u001b[2J"}}\n\n'
    b"event: no:json\ndata: " + RAW.replace(b"\r", b"") + b"\n\n"
    b"event: stream:closing\ndata: " + RAW.replace(b"\r", b"") + b"\n\n"
    b'event: executions:snapshot\ndata: {"executions":[1,{"execution_id":"\\u001b[2J",'
    b'"status":"\xc2\x9b","steps_failed":"x","updated_at":[],"error_message":"' + JSON + b'"}]}\n\n'
    b"event: execution:updated\ndata: []\n\n"
    b'event: execution:removed\ndata: {"execution_id":"' + JSON + b'"}\n\n'
    b'event: stream:absent\ndata: {"execution_id":"' + JSON + b'"}\n\n'
    b'event: execution:completed\ndata: {"type":"execution:completed"}\n\n',
    "connected to what is no JSON": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    b"event: connected\ndata: \x1b[31m\n\n",
    "connected with odd values": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    b'event: connected\ndata: {"heartbeat_seconds":"\\u001b[31m","execution_id":"\xc2\x9b"}\n\n',
    "connected to a list": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    b"event: connected\ndata: []\n\nevent: a:b\ndata: []\n\nevent: stream:gap\ndata: 1\n\n",
}


@pytest.mark.parametrize("kind", HOSTILE_ANSWERS)
async def test_a_gateway_of_somebody_else(kind: str, redis_url: str) -> None:
    """A program that answers at the address of the gateway puts only words on the terminal, and
    makes no command fail with a traceback."""
    async with answering(HOSTILE_ANSWERS[kind]) as address:
        url = f"http://{address}"
        tail = ("tail", "run-1", "--url", url, "--organization", "acme", "--give-up-after", "0")
        load = (
            *("loadtest", url, "--publish", redis_url, "--tabs", "1", "--executions", "1"),
            *("--events", "1", "--patience", "0.3"),
        )
        for words in (
            tail,
            (*tail, "--json"),
            ("tail", "run-2", *tail[1:]),
            ("tail", *tail[2:]),
            ("tail", *tail[2:], "--json"),
            ("check", url, "--patience", "0.1"),
            ("check", url, "--patience", "0.1", "--json"),
            load,
            (*load, "--json"),
        ):
            _, out, err = await run(*words, REDIS_URL=redis_url)
            assert_harmless(out)
            assert_harmless(err)
            assert "Traceback" not in err, f"{words}: {err}"
            assert out + err


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A server that gives this answer to whatever it is asked, and ends the connection; the value
    is its host and port."""

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        if writer.can_write_eof():
            writer.write_eof()
        # Not at once: a reset would take the answer away.
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(answer_once, "127.0.0.1", 0)
    async with server:
        yield "{}:{}".format(*server.sockets[0].getsockname())


async def test_from_files(tmp_path: Path) -> None:
    """A mistake in what a file holds is quoted without being obeyed: events, and settings."""
    events = tmp_path / "events.jsonl"
    events.write_bytes(b'{"type": "\xe2\x80\xae\xc2\x9b31m", "data": {}}\n')
    code, _, err = await run("publish", "run-1", "--file", str(events))
    assert code == 2
    assert "line 1" in err
    assert_harmless(err)
    config = tmp_path / "gateway.toml"
    config.write_bytes(b'"\xc2\x9b31m" = 1\nownership = "\xe2\x80\xae"\nport = "\\u001b"\n')
    for command in (("serve",), ("check",), ("check", "--json"), ("dev",)):
        code, out, err = await run(*command, "--config", str(config))
        assert code == 78
        assert_harmless(out)
        assert_harmless(err)


def test_no_other_way() -> None:
    """No command writes to the terminal by another way than `gateway.cli.output`."""
    package = Path(gateway.__file__).parent
    pattern = re.compile(r"(?<![\w.])print\(|click\.s?echo\(|(?<!\w)Console\(")
    for folder in ("cli", "tools/check", "tools/tail"):
        for file in (package / folder).glob("*.py"):
            if file.name != "output.py":
                found = pattern.findall(file.read_text())
                assert not found, f"{file} uses {found}"
