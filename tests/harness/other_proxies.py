"""HAProxy, Caddy and Apache on loopback, configured by the snippets of nginx/README.md."""

import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.harness.nginx import certificate
from tests.harness.program import Program, running
from tests.support import eventually, free_port, require

README = Path(__file__).parents[2] / "nginx" / "README.md"

_APACHE = """
ServerName localhost
ServerRoot {directory}
PidFile apache.pid
Mutex file:{directory}
ErrorLog error.log
Listen {port}
{modules}
{user}
"""
_MODULES = "mpm_event authz_core env setenvif deflate filter headers proxy proxy_http ssl http2"


def snippet(language: str) -> str:
    """The block of code in *language* in the document."""
    block = rf"^```{language}\n(.*?)^```$"
    [found] = re.findall(block, README.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


class OtherProxy(Program):
    """One of the three before the gateway at *upstream* (a URL)."""

    def __init__(
        self, name: str, directory: Path, upstream: str, *changes: tuple[str, str]
    ) -> None:
        """*name*: of the language of its snippet; *changes*: pairs of old and new text in it."""
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        self._directory = directory
        text = snippet(name).replace("127.0.0.1:8080", urlsplit(upstream).netloc)
        for old, new in changes:
            assert old in text, f"the snippet no longer says {old!r}"
            text = text.replace(old, new)
        certificate_file, key = certificate()
        both = directory / "both.pem"
        both.write_text(certificate_file.read_text() + key.read_text())
        text = text.replace("/etc/haproxy/certs/sse-gateway.pem", str(both))
        text = text.replace("/etc/ssl/certs/sse-gateway.pem", str(certificate_file))
        text = text.replace("/etc/ssl/private/sse-gateway.key", str(key))
        text = text.replace("/var/log/apache2/", f"{directory}/")
        prepare: dict[str, Callable[[str], tuple[str, ...]]] = {
            "haproxy": self._haproxy,
            "caddyfile": self._caddy,
            "apache": self._apache,
        }
        here = {"HOME": str(directory), "XDG_DATA_HOME": str(directory)}
        super().__init__(*prepare[name](text), environment={**os.environ, **here})

    def logged(self) -> str:
        """All that it wrote into any log or to its output."""
        logs = sorted(self._directory.glob("*.log"))
        return self.said + "".join(path.read_text() for path in logs)

    def _written(self, text: str) -> str:
        file = self._directory / "configuration"
        file.write_text(text)
        return str(file)

    def _haproxy(self, text: str) -> tuple[str, ...]:
        text = text.replace("bind :443", f"bind 127.0.0.1:{self.port}")
        self.url = self.url if " ssl " in text else self.url.replace("https", "http")
        text = text.replace("    log-format", "    log stdout format raw local0\n    log-format")
        return require("haproxy"), "-db", "-f", self._written(text)

    def _caddy(self, text: str) -> tuple[str, ...]:
        pair = certificate()
        text = text.replace("{\n", "{\n\tadmin off\n\tauto_https off\n", 1)
        site = f"{self.url} {{\n\ttls {pair.certificate} {pair.key}"
        file = self._written(text.replace("sse.example.com {", site))
        return require("caddy"), "run", "--adapter", "caddyfile", "--config", file

    def _apache(self, text: str) -> tuple[str, ...]:
        modules = [
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
            for name in _MODULES.split()
        ]
        around = _APACHE.format(
            directory=self._directory,
            port=self.port,
            modules="\n".join(modules),
            # Started by root, it refuses to run as root.
            user="" if os.geteuid() else "User www-data\nGroup www-data",
        )
        text = text.replace("*:443", f"127.0.0.1:{self.port}").replace(
            "sse.example.com", "localhost"
        )
        return require("apache2"), "-D", "FOREGROUND", "-f", self._written(around + text)


@asynccontextmanager
async def other_proxy(
    name: str, directory: Path, upstream: str, *changes: tuple[str, str]
) -> AsyncIterator[OtherProxy]:
    """One that listens for as long as the block runs."""
    async with running(OtherProxy(name, directory, upstream, *changes)) as proxy:

        def listens() -> bool:
            assert proxy.is_running, proxy.logged()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", proxy.port)) == 0

        await eventually(listens)
        try:
            yield proxy
        finally:
            # Killed, Apache would leave its children behind.
            proxy.signal(signal.SIGTERM)
            await proxy.ended()
