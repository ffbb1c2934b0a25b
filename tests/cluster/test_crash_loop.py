"""The other replicas keep serving while one is in a crash loop. Each test starts its own embedded cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gifchat_cli.restart_policy import MAX_DELAY_S, STEADY_S
from gifchat_testkit.clients import chat_socket
from gifchat_testkit.cluster import EmbeddedCluster, gifchat, running_cluster
from gifchat_testkit.waiting import block_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

COMES_BACK_S = MAX_DELAY_S + STEADY_S + 20.0


@dataclass
class Installation:
    """Makes the Python processes with chosen names fail at startup."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "sitecustomize.py").write_text(
            "import os, pathlib, sys\n"
            "name = os.environ.get('NODE_NAME')\n"
            "if name and pathlib.Path(__file__).with_name(name).exists():\n"
            "    print(f'{name} is broken', flush=True)\n"
            "    os._exit(3)\n"
        )

    @property
    def env(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.folder)}

    def break_down(self, name: str) -> None:
        (self.folder / name).touch()

    def mend(self, name: str) -> None:
        (self.folder / name).unlink()


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def is_ready(process: dict[str, Any]) -> bool:
    return bool(process["ready"])


def in_crash_loop(process: dict[str, Any]) -> bool:
    return bool(process["state"] == "crash loop")


def refusal(cluster: EmbeddedCluster, *arguments: str) -> str:
    answer = gifchat(*arguments, "--data", str(cluster.data))
    assert answer.returncode == 1, answer.stdout
    return answer.stderr


@contextmanager
def cluster_of(installation: Installation, gateways: int, rooms_api: int) -> Iterator[EmbeddedCluster]:
    sizes = ("--gateways", str(gateways), "--rooms-api", str(rooms_api))
    with running_cluster(*sizes, env=installation.env) as cluster:
        yield cluster


async def assert_it_serves(cluster: EmbeddedCluster) -> None:
    for _ in range(4):
        async with chat_socket(cluster.url) as chat:
            assert chat.connected
    async with httpx.AsyncClient(base_url=cluster.url) as http:
        for _ in range(4):
            assert (await http.get("/api/v1/rooms")).status_code == 200


async def test_the_others_serve_until_a_crashing_gateway_recovers(
    installation: Installation,
) -> None:
    with cluster_of(installation, gateways=2, rooms_api=1) as cluster:
        installation.break_down("gateway-2")
        cluster.kill("gateway-2")
        cluster.wait_for("gateway-2", in_crash_loop)
        assert "crash loop" in cluster.gifchat("status")
        block_until(lambda: cluster.gateways_behind_nginx() == {"gateway-1"}, "nginx to skip the crashing gateway")
        await assert_it_serves(cluster)

        assert "gateway-2 is in a crash loop" in refusal(cluster, "drain", "gateway-2")
        assert "gateway-2 is in a crash loop" in refusal(cluster, "shed", "gateway-2", "50%")
        assert "Only gateway-1 takes sockets" in refusal(cluster, "drain", "gateway-1")
        said = refusal(cluster, "restart", "gateway-2")
        assert "gateway-2 crashed too often: nginx skips it." in said
        assert "  gateway-2 is broken" in said
        cluster.scale("gateways", 3)
        cluster.gifchat("restart", "gateway-1")
        cluster.scale("rooms-api", 2)
        assert cluster.gateways_behind_nginx() == {"gateway-1", "gateway-3"}
        assert in_crash_loop(cluster.processes()["gateway-2"])
        await assert_it_serves(cluster)

        before = cluster.processes()["gateway-2"]["restarts"]
        cluster.wait_for("gateway-2", lambda process: process["restarts"] > before + 1)
        # Once for the crash loop and once for the refused restart.
        assert cluster.output().count("The last lines of") == 2

        installation.mend("gateway-2")
        cluster.wait_for("gateway-2", is_ready, COMES_BACK_S)
        everyone = {"gateway-1", "gateway-2", "gateway-3"}
        block_until(lambda: cluster.gateways_behind_nginx() == everyone, "nginx to route to the recovered gateway")
        assert "gateway-2 is ready again." in cluster.output()
        await assert_it_serves(cluster)


async def test_scaling_down_removes_a_replica_in_a_crash_loop_first(installation: Installation) -> None:
    with cluster_of(installation, gateways=1, rooms_api=3) as cluster:
        installation.break_down("rooms-api-1")
        cluster.kill("rooms-api-1")
        cluster.wait_for("rooms-api-1", in_crash_loop)
        await assert_it_serves(cluster)
        cluster.scale("rooms-api", 2)
        assert {name for name in cluster.processes() if name.startswith("rooms-api")} == {"rooms-api-2", "rooms-api-3"}
        assert "rooms-api-1 crashed too often." in refusal(cluster, "scale", "rooms-api=3")
        assert {name for name in cluster.processes() if name.startswith("rooms-api")} == {"rooms-api-2", "rooms-api-3"}
        installation.mend("rooms-api-1")
        cluster.scale("rooms-api", 3)
        assert all(map(is_ready, cluster.processes().values()))
        await assert_it_serves(cluster)


async def test_a_replica_that_fails_while_the_cluster_starts_is_skipped_by_nginx(
    installation: Installation,
) -> None:
    installation.break_down("gateway-2")
    with cluster_of(installation, gateways=2, rooms_api=1) as cluster:
        assert in_crash_loop(cluster.processes()["gateway-2"])
        block_until(lambda: cluster.gateways_behind_nginx() == {"gateway-1"}, "nginx to skip the crashing gateway")
        assert "nginx skips gateway-2" in cluster.output()
        await assert_it_serves(cluster)
        assert gifchat("down", "--data", str(cluster.data)).returncode == 0
        assert cluster.output().rstrip().endswith("Stopped.")


def test_the_crash_loop_of_the_last_replica_stops_the_cluster(installation: Installation) -> None:
    with cluster_of(installation, gateways=2, rooms_api=1) as cluster:
        installation.break_down("gateway-1")
        installation.break_down("gateway-2")
        cluster.kill("gateway-1")
        cluster.wait_for("gateway-1", in_crash_loop)
        cluster.kill("gateway-2")
        block_until(lambda: gifchat("status", "--data", str(cluster.data)).returncode == 1, "the cluster to stop", 60)
        block_until(lambda: "gateway-2 crashed too often: stopping." in cluster.output(), "the reason")
        assert "  gateway-2 is broken" in cluster.output()


def test_a_drained_gateway_does_not_count_as_serving(installation: Installation) -> None:
    with cluster_of(installation, gateways=2, rooms_api=1) as cluster:
        cluster.gifchat("drain", "gateway-1")
        installation.break_down("gateway-2")
        cluster.kill("gateway-2")
        block_until(lambda: gifchat("status", "--data", str(cluster.data)).returncode == 1, "the cluster to stop", 60)
        block_until(lambda: "gateway-2 crashed too often: stopping." in cluster.output(), "the reason")
