"""Public keys in a PEM file (RFC 7468), one or several for the time in which an issuer changes
them. A file with anything doubtful in it is refused whole: half of it would lock users out.
"""

import re
from collections.abc import Collection
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.access.keys import MAX_TRIED, Key, public_key
from gateway.settings.checks import read_text

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def read_pem(file: Path, algorithms: Collection[str]) -> tuple[Key, ...]:
    """All public keys in *file*, each good for one of the allowed *algorithms* at least.

    Raises:
        ValueError: the file cannot be read, or is not made of such keys; says what to do.
    """
    text = read_text(file)
    keys = tuple(_key(block) for block in _BLOCK.finditer(text))
    if not keys or len(keys) != text.count("-----BEGIN"):
        raise ValueError(
            f"{file} holds no complete public key in PEM: it must begin with "
            "-----BEGIN PUBLIC KEY-----"
        )
    if len(keys) > MAX_TRIED:
        raise ValueError(f"{file} holds more than {MAX_TRIED} keys: remove those of the past")
    for key in keys:
        if key.algorithms.isdisjoint(algorithms):
            raise ValueError(
                f"{file} holds a key for {' or '.join(sorted(key.algorithms))}, which is not "
                "among the allowed algorithms: allow one of them, or remove the key"
            )
    return keys


def _key(block: re.Match[str]) -> Key:
    label = block[1]
    if "PRIVATE" in label:
        raise ValueError(
            "a private key has no place here, whoever reads it can sign: put its public half "
            "in the file, made with `openssl pkey -pubout`, and replace the pair"
        )
    if label not in ("PUBLIC KEY", "RSA PUBLIC KEY"):
        raise ValueError(
            f"{label} is no public key: take it out of a certificate with "
            "`openssl x509 -pubkey -noout`"
        )
    try:
        material = load_pem_public_key(block[0].encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("a key in it is damaged or of an unknown kind: export it anew") from None
    return public_key(material)
