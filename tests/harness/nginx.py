"""A real nginx on loopback that includes the project's site file, with a test's own addresses."""

import atexit
import os
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from tests.harness.certificates import Pair, self_signed
from tests.support import DEADLINE, free_port, require

SITE = Path(__file__).parents[2] / "nginx" / "sse-gateway.conf"

# What Debian's nginx.conf says around a site, but with every path below the prefix.
_AROUND = """
daemon off;
pid nginx.pid;
error_log logs/error.log {level};
events { worker_connections 4096; }
http {
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    access_log logs/access.log;
    include site.conf;
}
"""


@cache
def certificate() -> Pair:
    """A certificate of localhost that nobody trusts, and its key; made once a session."""
    directory = Path(tempfile.mkdtemp(prefix="gateway-certificate-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return self_signed(directory, "localhost")


class Nginx:
    """One nginx whose site passes on to *upstream* (a URL); `site` is the text of its site file."""

    def __init__(self, prefix: Path, upstream: str, *, tls: bool = False) -> None:
        """Without *tls* the site listens as behind a proxy that ends it."""
        port, plain = free_port(), free_port()
        self.url = f"{'https://localhost' if tls else 'http://127.0.0.1'}:{port}"
        self.plain_url = f"http://127.0.0.1:{plain}"
        """Where the site sends people on to TLS."""
        self.prefix = prefix
        self.error_level = "error"
        """From which level on its main error log, outside the site, holds what it has to say."""
        self.site = SITE.read_text()
        listen = f"listen 127.0.0.1:{port}{' ssl http2' if tls else ''};"
        self.replace("listen 443 ssl http2;\n    listen [::]:443 ssl http2;", listen)
        self.replace("listen 80;\n    listen [::]:80;", f"listen 127.0.0.1:{plain};")
        certificate_file, key = certificate()
        self.replace("server_name sse.example.com;", "server_name localhost;")
        self.replace("/etc/ssl/certs/sse-gateway.pem", str(certificate_file))
        self.replace("/etc/ssl/private/sse-gateway.key", str(key))
        self.replace("server 127.0.0.1:8080;", f"server {urlsplit(upstream).netloc};")
        self.replace("/var/log/nginx/", "logs/")
        (prefix / "logs").mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def replace(self, old: str, new: str) -> None:
        assert old in self.site, f"the site no longer says {old!r}"
        self.site = self.site.replace(old, new)

    def list_origin(self, origin: str) -> None:
        """Let pages of *origin* read what nginx itself answers to an EventSource."""
        self.replace('#"https://app.example.com"', f'"{origin}"')

    def check(self) -> str:
        """What `nginx -t` says."""
        self._write()
        done = subprocess.run([*self._command(), "-t"], capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    def start(self) -> None:
        """Start it and wait until it has written its pid, which it does once it listens."""
        self._write()
        with (self.prefix / "logs" / "output").open("wb") as output:
            self._process = subprocess.Popen(self._command(), stdout=output, stderr=output)
        deadline = time.monotonic() + DEADLINE
        while not (self.prefix / "nginx.pid").exists():
            assert self._process.poll() is None, self.logged()
            assert time.monotonic() < deadline, "nginx does not start"
            time.sleep(0.01)

    def reload(self) -> None:
        """`nginx -s reload`: new workers; the old ones live as long as their streams."""
        subprocess.run([*self._command(), "-s", "reload"], check=True, capture_output=True)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(DEADLINE)

    def logged(self) -> str:
        """All that it wrote into any log or to its output."""
        return "".join(path.read_text() for path in sorted((self.prefix / "logs").iterdir()))

    def _write(self) -> None:
        # Started by root, its workers would be "nobody", who may enter no test's directory.
        user = "" if os.geteuid() else "user root;"
        (self.prefix / "nginx.conf").write_text(user + _AROUND.replace("{level}", self.error_level))
        (self.prefix / "site.conf").write_text(self.site)

    def _command(self) -> list[str]:
        return [
            require("nginx"),
            "-p",
            str(self.prefix),
            "-c",
            "nginx.conf",
            "-e",
            "logs/error.log",
        ]
