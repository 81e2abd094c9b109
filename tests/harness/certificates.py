"""Certificates for a test: an authority, and what it has signed for a server and for a client."""

import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.support import require


class Pair(NamedTuple):
    """The files of a certificate and of its key."""

    certificate: Path
    key: Path


def self_signed(directory: Path, name: str) -> Pair:
    """A certificate of *name* that nobody trusts."""
    return _make(directory, name)


def make_authority(directory: Path, name: str) -> Pair:
    """An authority that signs certificates."""
    return _make(directory, name, "-addext", "keyUsage=critical,keyCertSign")


def sign(authority: Pair, name: str) -> Pair:
    """A certificate of *authority* for a server or a client at 127.0.0.1 or localhost."""
    # fmt: off
    return _make(
        authority.certificate.parent, name,
        "-CA", str(authority.certificate), "-CAkey", str(authority.key),
        "-addext", "basicConstraints=critical,CA:FALSE",
        "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
    )
    # fmt: on


def _make(directory: Path, name: str, *options: str) -> Pair:
    made = Pair(directory / f"{name}.pem", directory / f"{name}.key")
    # fmt: off
    subprocess.run(
        [require("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={name}",
         "-keyout", str(made.key), "-out", str(made.certificate), *options],
        check=True, capture_output=True,
    )
    # fmt: on
    return made
