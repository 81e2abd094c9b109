"""A TCP relay before a gateway that writes down what one client asks, and how it is answered."""

import re

from tests.harness.tcp_proxy import TcpProxy

_REQUEST = re.compile(rb"(?:^|\n)GET (\S+) HTTP/1\.1\r\n(.*?\r\n)\r\n", re.DOTALL)
_RESPONSE = re.compile(rb"(?:^|\n)HTTP/1\.1 (\d{3}) ")


class Recorder(TcpProxy):
    """Changes nothing: when the gateway breaks a connection off, so does it."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.requests: list[str] = []
        """The head of every GET, its path first, in lower case."""
        self.statuses: list[int] = []

    async def request_passes(self, chunk: bytes) -> bool:
        for path, head in _REQUEST.findall(chunk):
            self.requests.append(f"{path.decode()}\n{head.decode().lower()}")
        return True

    async def answer_passes(self, chunk: bytes) -> bool:
        self.statuses += [int(status) for status in _RESPONSE.findall(chunk)]
        return True
