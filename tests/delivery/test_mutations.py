"""The faults that the model test must find still fit the code: else they would prove nothing."""

import pytest

from tests.delivery.mutations import MUTATIONS, ROOT, Mutation, applied


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_every_fault_can_be_made(mutation: Mutation) -> None:
    """What it replaces is in its file exactly once, and what it leaves is Python. `python -m
    tests.delivery.mutations` shows that the model test finds it."""
    text = (ROOT / mutation.file).read_text()
    changed = applied(mutation, text)
    assert changed != text
    compile(changed, mutation.file, "exec")
