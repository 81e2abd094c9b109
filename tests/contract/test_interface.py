"""The scripts' interface: what `sse-gateway contract` prints is what the scripts read."""

import hashlib
import re
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from gateway.cli.contract import contract
from gateway.contract.interface import VERSION, interfaces

KNOWN = {1: "4af76abd45f96e13"}
"""The digest of each version's keys and arguments."""

CONTRACT = Path(__file__).parents[2] / "gateway" / "CONTRACT.md"


def _printed(*words: str) -> str:
    result = CliRunner().invoke(contract, words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_another_interface_has_another_version() -> None:
    """Programs of others are written for a version: their calls mean the same for as long as it
    stays. An optional argument at the end is the only thing that may be added without."""
    shape = [
        (name, [(one.name, one.optional) for one in (*interface.keys, *interface.arguments)])
        for name, interface in interfaces().items()
    ]
    digest = hashlib.sha256(orjson.dumps(shape)).hexdigest()[:16]
    assert KNOWN.get(VERSION) == digest, (
        "the scripts are called in another way: increase VERSION, and add its digest here (or, for "
        "an optional argument that was added at the end, replace the digest)"
    )


@pytest.mark.parametrize("name", interfaces())
def test_each_key_and_argument_is_described(name: str) -> None:
    """A script reads each that is described, and no other one."""
    interface = interfaces()[name]
    for kind, described in (("KEYS", interface.keys), ("ARGV", interface.arguments)):
        read = {int(n) for n in re.findall(rf"\b{kind}\[(\d+)\]", interface.script.text)}
        assert read == set(range(1, len(described) + 1))
        # Nothing that must be given follows what may be left out.
        optional = [one.optional for one in described]
        assert optional == sorted(optional)


def test_what_is_printed_is_what_to_load() -> None:
    """The text has the SHA by which it is called then, and the JSON says the same as the table."""
    document = orjson.loads(_printed("--json"))
    table = _printed()
    assert document["version"] == VERSION
    assert f"Version {VERSION} " in table
    assert f"version {VERSION} of their interface" in CONTRACT.read_text()
    for name, interface in document["scripts"].items():
        text = _printed("--script", name)
        assert hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() == interface["sha"]
        assert _printed("--sha", name) == interface["sha"] + "\n"
        assert interface["sha"] in table
        for one in interface["keys"] + interface["arguments"]:
            assert f"  {one['name']} " in table


def test_the_channel_is_that_of_the_prefix() -> None:
    """The channel is that of the gateway's prefix."""
    assert "x:<execution_id>" in _printed("--channel-prefix", "x:")
    assert CliRunner().invoke(contract, ["--json", "--sha", "publish"]).exit_code == 2
