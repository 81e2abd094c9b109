"""What the checks of several settings share."""

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
    """A word that may be written in capitals."""
    return value.lower() if isinstance(value, str) else value


def words(value: object) -> object:
    """A comma-separated list in the environment, an array in the file."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


def port_or_off(value: object) -> object:
    """None for the word `off`."""
    return None if lower(value) == "off" else value


def networks(value: object) -> object:
    """As `words`, and each is text: a number would be taken for an address."""
    found = words(value)
    if isinstance(found, list | tuple) and any(isinstance(one, int) for one in found):
        raise ValueError('write each network as text, like "10.0.0.0/8"')
    return found


Word = BeforeValidator(lower)
Words = BeforeValidator(words)
Networks = BeforeValidator(networks)


def read_text(file: Path) -> str:
    """The content of *file*, without the white space around it.

    Raises:
        ValueError: it cannot be read; says why, and nothing of what it holds.
    """
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"the file {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {file} cannot be read: it is no text") from None


def check_url(url: str) -> None:
    """Whether *url* can be asked over HTTP.

    Raises:
        ValueError: it cannot.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("begin it with https:// and the name of a host")


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine by its name alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
