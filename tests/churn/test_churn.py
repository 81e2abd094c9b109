"""Lists are right after a churn; `make churn` is the long one."""

import pytest

from tests.churn.run import SHORT, Churn


@pytest.mark.timeout(180)
async def test_after_silence_every_list_shows_what_the_model_has() -> None:
    """The newest executions, their statuses and their counts: at both gateways, through a killed
    one, a restart of Redis, lost announcements and trimmed histories."""
    said: list[str] = []
    faults = await Churn(SHORT, seed=1, say=said.append).run()
    assert not faults, "\n".join([*said, *faults[:20]])
