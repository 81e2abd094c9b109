"""Alert rules and dashboard: valid, about metrics that exist, and firing when they should."""

import re
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.conftest import StartGateway
from tests.operations.exposition import families
from tests.support import require

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
ALERTS = CONFIG / "alerts.yml"
TESTS = Path(__file__).parent / "alerts.test.yml"
DASHBOARD = CONFIG / "grafana-dashboard.json"
_METRIC = re.compile(r"\b(?:sse_gateway|process)_[a-z_]+\b")
_BOUNDED = re.compile(r"\b(where|reason|code|kind)=\"(\w+)\"")
"""Labels whose every value is shown from the start."""


def promtool(*words: str) -> str:
    done = subprocess.run([require("promtool"), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_rules_are_valid() -> None:
    """`promtool check rules` finds nothing wrong."""
    assert "SUCCESS" in promtool("check", "rules", str(ALERTS))


def test_rules_fire() -> None:
    """Every alert fires when it should, and none when all is well, at a restart in good order, or
    when Redis is away for a moment."""
    assert "SUCCESS" in promtool("test", "rules", str(TESTS))
    named = set(re.findall(r"alert: (\w+)", ALERTS.read_text()))
    assert named == set(re.findall(r'alertname="(\w+)"', TESTS.read_text()))


def test_every_alert_says_what_to_do() -> None:
    """Each alert has a severity, a summary, and a section of OPERATIONS.md under its name."""
    for alert in re.split(r"\n\s+- alert: ", ALERTS.read_text())[1:]:
        name = alert.split()[0]
        assert re.search(r"severity: (critical|warning)", alert), name
        assert "summary:" in alert, name
        assert f"### {name}\n" in (ROOT / "gateway" / "OPERATIONS.md").read_text(), name


@pytest.fixture
def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(DASHBOARD.read_bytes())
    return document


async def test_metrics_exist(start_gateway: StartGateway, dashboard: dict[str, Any]) -> None:
    """Every metric that a rule or a panel asks for is one that a gateway shows, and so is every
    reason and place of a drop."""
    gateway = await start_gateway(ownership="token", admin_port=0)
    await gateway.session.get(gateway.stream_url("run-1"))
    samples = [sample for family in await families(gateway) for sample in family.samples]
    expressions = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])
    ]
    rules = re.findall(r"expr: (.*(?:\n {10}.*)*)", ALERTS.read_text())
    asked = {name for text in [*expressions, *rules] for name in _METRIC.findall(text)}
    assert len(asked) > 25
    assert asked <= {sample.name for sample in samples}
    values = {pair for text in [*expressions, *rules] for pair in _BOUNDED.findall(text)}
    assert len(values) > 3
    assert values <= {pair for sample in samples for pair in sample.labels.items()}


def test_expressions(dashboard: dict[str, Any], tmp_path: Path) -> None:
    """Prometheus can read every expression of the dashboard."""
    rules = ["groups:", "  - name: dashboard", "    rules:"]
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            text = target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
            rules += [
                "      - record: sse:dashboard",
                f"        expr: {orjson.dumps(text).decode()}",
            ]
            label = f"{panel['id']}-{target['refId']}"
            rules += [f'        labels: {{panel: "{label}"}}']
    file = tmp_path / "dashboard.yml"
    file.write_text("\n".join(rules) + "\n")
    assert "SUCCESS" in promtool("check", "rules", str(file))


def test_panels(dashboard: dict[str, Any]) -> None:
    """Panels have ids of their own and do not overlap; each says what is normal."""
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one, other)
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["type"] == "row" or panel["description"], panel["title"]
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert variables == {"datasource", "instance"}
