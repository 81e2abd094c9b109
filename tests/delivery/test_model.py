"""A whole gateway against the simplest model there is: the list of what was published.

Messages go in by a real Redis, bytes come out of transports, and nothing between is replaced.
Hypothesis chooses what happens: events that arrive, are lost on the way or come twice, with and
without ids, in the middle of a read; readers that come with any cursor, by HTTP/1.1 or 1.0, that
stop reading, go on, leave and break; histories that are trimmed and flushed, a Redis that is not
the same any more, subscriptions that are cut, and confirmed late. The scenarios beside this file do
the same to whole processes, by time instead of by choice.
"""

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from gateway.bus import auditor, questions, subscription
from tests.delivery.edge import interrupt_histories
from tests.delivery.known import Known
from tests.delivery.model import Model
from tests.delivery.watching_model import WatchingModel
from tests.harness.redis_process import RedisProcess

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "40"))
MODELS = {"pattern": (Model, EXAMPLES), "execution": (WatchingModel, EXAMPLES // 2)}
"""With how many examples."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("to", MODELS)
def test_model(
    to: str, redis_process: Callable[..., RedisProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens in whatever order, each reader gets what follows its cursor: no gap that
    it is not told of, no duplicate, and the end."""
    monkeypatch.setattr(questions, "INTERVAL", 0.02)
    # One alone, so that what it has missed is found by the silence of a stream.
    monkeypatch.setattr(auditor, "SWEEPS", (0.0,))
    monkeypatch.setattr(subscription, "_PAUSES", (0.005, 0.005))
    interrupt_histories(monkeypatch)
    model, examples = MODELS[to]
    monkeypatch.setattr(Known, "url", redis_process("--enable-debug-command", "yes").url)
    run_state_machine_as_test(
        model,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            # To shrink takes minutes, since what is wrong is often that something does not come.
            phases=list(Phase)
            if "MODEL_SHRINK" in os.environ
            else [Phase.explicit, Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
