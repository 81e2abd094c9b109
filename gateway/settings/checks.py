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


def recording(value: object) -> object:
    """The word for a switch: a file may have `true`."""
    word = str(value).lower()
    if word in ("true", "yes", "1", "t", "y"):
        return "on"
    return "off" if word in ("false", "no", "0", "f", "n") else word


def networks(value: object) -> object:
    """As `words`; each must be text, since a number would be read as an address."""
    found = words(value)
    if isinstance(found, list | tuple) and any(isinstance(one, int) for one in found):
        raise ValueError('write each network as text, like "10.0.0.0/8"')
    return found


def paths(value: object) -> object:
    """As `words`; one path is a list of one."""
    return (value,) if isinstance(value, Path) else words(value)


Word = BeforeValidator(lower)
Paths = BeforeValidator(paths)
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


def normal_origin(given: str) -> str:
    """The origin *given* as browsers send it.

    Raises:
        ValueError: no browser sends it.
    """
    # yarl writes a URL as browsers do: host names in lower case and in ASCII, no default port.
    from yarl import URL

    if "*" in given:
        raise ValueError(f"{given!r} has a *, which matches no part of a name: list each origin")
    try:
        url = URL(given)
        if url == url.origin() and url.scheme in ("http", "https") and " " not in given:
            return str(url.origin())
    except ValueError:
        pass
    raise ValueError(f"{given!r} is not an origin: write it like https://app.example.com")


def is_loopback(host: str) -> bool:
    """Whether *host* is a loopback address, or `localhost`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
