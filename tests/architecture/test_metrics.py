"""The metrics named in the operators' guide exist, and all metrics are defined in the usual modules."""

import re
import subprocess
from pathlib import Path

from prometheus_client import REGISTRY

from gifchat_chassis import request_metrics
from gifchat_realtime_gateway import metrics as gateway_metrics
from gifchat_rooms_api import metrics as rooms_api_metrics

MODULES = (request_metrics, gateway_metrics, rooms_api_metrics)  # Importing them registers the metrics.
ROOT = Path(__file__).parents[2]
NAME = re.compile(r"`((?:gateway|http|rooms_api)_\w+)(?:\{\w+\})?`")


def test_operators_find_every_named_metric() -> None:
    exported = {metric.name + ("_total" if metric.type == "counter" else "") for metric in REGISTRY.collect()}
    named = set(NAME.findall((ROOT / "docs/operations.md").read_text()))
    assert named
    assert named <= exported


def test_metrics_are_defined_where_contributors_look() -> None:
    pattern = "^from prometheus_client.*(Counter|Gauge|Histogram)"
    grep = ["git", "grep", "-lE", pattern, "--", "chassis", "services", "cli"]
    found = subprocess.run(grep, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {Path(path).name for path in found} == {Path(str(module.__file__)).name for module in MODULES}
