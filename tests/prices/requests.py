"""Requests of strangers without a token: long targets and headers of every alphabet, parameters,
methods, bodies."""

from tests.harness.raw import GET, HEALTH, STREAM
from tests.prices.row import Attack, Row
from tests.prices.stage import Stage

_BODY = "MAX_BODY_BYTES in gateway/http/screen.py"
_LINE = "MAX_LINE_BYTES in gateway/http/connection.py"
_SLASHES = "MAX_SLASHES in gateway/http/screen.py"
_FLOOD = "limit_req in nginx/sse-gateway.conf"

ALPHABETS = {
    "eyJ": "eyJ",
    "z": "z",
    "percent signs": "%25",
    "dots": "eyJ.",
    "bearer": "bearer%20",
    "authorization=": "authorization=",
    "a://": "a://",
    "a://a:": "a://a:a",
    "token=": "token=",
    "unicode": "%C3%A9",
    "quotes": "%22%27%3D",
}
"""What a redaction, a decoder or a quoting may read more than once."""


def filled(filler: str, size: int) -> str:
    """Whole *filler*s, *size* bytes of them at most."""
    return filler * (size // len(filler))


def request(begin: str, filler: str = "", end: str = "") -> Attack:
    """A request made of the three parts, in which *filler* takes the size of an input."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        data = f"{begin}{filled(filler, size) if filler else ''}{end}\r\n\r\n"
        await stage.each(times, lambda _: stage.ask(data))

    return attack


def in_path(filler: str) -> Attack:
    return request("GET /api/v1/sse/", filler, " HTTP/1.1\r\nHost: x")


def in_query(filler: str) -> Attack:
    return request(f"GET {STREAM}?", filler, " HTTP/1.1\r\nHost: x")


def in_header(begin: str, filler: str) -> Attack:
    """*begin*: the header's name, a colon, and what comes before the filler."""
    return request(f"GET {STREAM} HTTP/1.1\r\nHost: x\r\n{begin} ", filler)


async def _pipelined(stage: Stage, size: int, times: int) -> None:
    await stage.ask(f"{GET}\r\n" * times, answers=times)


async def _preflight(stage: Stage, size: int, times: int) -> None:
    lines = "Origin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\n"
    data = f"OPTIONS {STREAM} HTTP/1.1\r\nHost: x\r\n{lines}\r\n"
    await stage.each(times, lambda _: stage.ask(data))


async def _head(stage: Stage, size: int, times: int) -> None:
    paths = [HEALTH, STREAM, "/", "/api/v1/workflows/-/runs/run-1"]
    await stage.each(
        times,
        lambda number: stage.ask(f"HEAD {paths[number % 4]} HTTP/1.1\r\nHost: x\r\n\r\n"),
    )


async def _methods(stage: Stage, size: int, times: int) -> None:
    methods = ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW", "PRI"]
    await stage.each(
        times,
        lambda number: stage.ask(f"{methods[number % 8]} {STREAM} HTTP/1.1\r\nHost: x\r\n\r\n"),
    )


async def _body(stage: Stage, size: int, times: int) -> None:
    """A ticket asked for with a body of deep JSON."""
    target = STREAM.replace("/stream", "/ticket")
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
    await stage.each(times, lambda _: stage.ask(head.encode() + b"[" * size))


async def _chunks(stage: Stage, size: int, times: int) -> None:
    """A body in chunks of one byte."""
    target = STREAM.replace("/stream", "/ticket")
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    await stage.each(times, lambda _: stage.ask(head.encode() + b"1\r\n[\r\n" * size))


async def _many_headers(stage: Stage, size: int, times: int) -> None:
    lines = "".join(f"X-{number}: y\r\n" for number in range(size))
    await stage.each(times, lambda _: stage.ask(f"{GET}{lines}\r\n"))


_MOST = 3900

ROWS = [
    *(
        Row(f"path of {name}", in_path(filler), _LINE, size=_MOST)
        for name, filler in ALPHABETS.items()
    ),
    *(
        Row(f"path of {name}, log as text", in_path(filler), _LINE, size=_MOST, gateway="text log")
        for name, filler in ALPHABETS.items()
        if name in ("eyJ", "z", "a://")
    ),
    Row("path of eyJ through nginx", in_path("eyJ"), _LINE, size=_MOST, through_nginx=True),
    Row("path of raw bytes", in_path("\xe9"), _LINE, size=_MOST),
    Row("path of slashes", in_path("/"), _SLASHES, size=_MOST),
    Row("path of dots and slashes", in_path("../"), _SLASHES, size=_MOST),
    Row("query of many parameters", in_query("a=&"), _LINE, size=_MOST),
    Row("query of one parameter repeated", in_query("ticket=a&"), _LINE, size=_MOST),
    Row("query of ampersands", in_query("&"), _LINE, size=_MOST),
    Row("query of percent signs", in_query("%"), _LINE, size=_MOST),
    Row("query of eyJ as a token", in_query("Authorization=Bearer%20eyJ.eyJ"), _LINE, size=_MOST),
    Row("header Authorization of eyJ", in_header("Authorization: Bearer", "eyJ"), _LINE,
        size=_MOST),
    Row("header Authorization of dots", in_header("Authorization: Bearer", "."), _LINE, size=_MOST),
    Row("header Last-Event-ID of digits", in_header("Last-Event-ID:", "9"), _LINE, size=_MOST),
    Row("header X-Forwarded-For of many", in_header("X-Forwarded-For:", "::1,"), _LINE, size=_MOST),
    Row("header X-Request-ID of z", in_header("X-Request-ID:", "z"), _LINE, size=_MOST),
    Row("header X-Organization-ID", in_header("X-Organization-ID:", "z"), _LINE, size=_MOST),
    Row("header Accept of many", in_header("Accept:", "*/*,"), _LINE, size=_MOST),
    Row("header Cookie of many", in_header("Cookie:", "a=b; "), _LINE, size=_MOST),
    Row("header Range of many", in_header("Range: bytes=0-1,", "0-1,"), _LINE, size=_MOST),
    Row("header Host of a://", request(f"GET {HEALTH} HTTP/1.1\r\nHost: ", "a://"), _LINE,
        size=_MOST),
    Row("many headers", _many_headers, "MAX_HEADERS in gateway/http/connection.py", size=60),
    Row("many pipelined requests", _pipelined, "aiohttp in setup.cfg", times=100),
    Row("flood of OPTIONS", _preflight, _FLOOD, times=50),
    Row("flood of HEAD", _head, _FLOOD, times=50),
    Row("flood of wrong methods", _methods, _FLOOD, times=50),
    Row("body of deep JSON", _body, _BODY, size=20_000),
    Row("body of tiny chunks", _chunks, _BODY, size=5_000, times=20,
        cpu=0.02),
]  # fmt: skip
