"""What several settings and their checks share."""

from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BeforeValidator

PREFIX = "GATEWAY_"
CONFIG_VARIABLE = "GATEWAY_CONFIG"


def variable(field: str) -> str:
    """The environment variable of a field of `Settings`."""
    return "REDIS_URL" if field == "redis_url" else PREFIX + field.upper()


def lower(value: object) -> object:
    """*value* in lower case, if it is text."""
    return value.lower() if isinstance(value, str) else value


def words(value: object) -> object:
    """The items of a comma-separated list; a file has an array instead."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


def port_or_off(value: object) -> object:
    """None for the word `off`."""
    return None if lower(value) == "off" else value


def networks(value: object) -> object:
    """As `words`; each must be text, since a number would be read as an address."""
    found = words(value)
    if isinstance(found, list | tuple) and any(isinstance(one, int) for one in found):
        raise ValueError('write each network as text, like "10.0.0.0/8"')
    return found


Word = BeforeValidator(lower)
Words = BeforeValidator(words)
Networks = BeforeValidator(networks)


def read_text(file: Path) -> str:
    """The content of *file*, without surrounding white space.

    Raises:
        ValueError: it cannot be read; the message does not quote the content.
    """
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"the file {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {file} cannot be read: it is not text") from None


def check_url(url: str) -> None:
    """Raise ValueError if *url* cannot be requested over HTTP."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("start it with https:// and a host name")


def is_loopback(host: str) -> bool:
    """Whether *host* is a loopback address, or `localhost`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
