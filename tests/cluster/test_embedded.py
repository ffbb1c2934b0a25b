"""The embedded cluster as users run it: with the real command line, real servers, and nginx in front."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gifchat_cli.ports import free_port
from gifchat_testkit.clients import ChatSocket, chat_socket, cookie_header, visitor
from gifchat_testkit.cluster import EmbeddedCluster, gifchat, running_cluster
from gifchat_testkit.waiting import block_until, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SOCKETS = 30


def descendants(pid: int) -> set[int]:
    """Return all descendants of the process `pid`."""
    parent_of: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parent_of[int(stat.parent.name)] = int(fields[1])
    found, before = {pid}, 0
    while len(found) != before:
        before = len(found)
        found |= {child for child, parent in parent_of.items() if parent in found}
    return found - {pid}


def state_of(pid: int) -> str:
    """Return the state that /proc shows, such as S (sleeping) or T (stopped); X if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def is_running(pid: int) -> bool:
    return state_of(pid) not in "ZX"


def wait_until_none_runs(pids: set[int]) -> None:
    block_until(lambda: not any(map(is_running, pids)), f"the end of {[pid for pid in pids if is_running(pid)]}")


@contextmanager
def detached(data: Path) -> Iterator[int]:
    """Start a cluster with --detach and yield the pid of its supervisor."""
    port = free_port()
    answer = gifchat("up", "--detach", "--data", str(data), "--port", str(port), "--gateways", "1", "--rooms-api", "1")
    assert answer.returncode == 0, answer.stderr
    assert f"Ready: http://localhost:{port}" in answer.stdout
    try:
        yield json.loads(gifchat("status", "--json", "--data", str(data)).stdout)["pid"]
    finally:
        gifchat("down", "--data", str(data))


def test_a_detached_cluster_runs_until_stopped_and_keeps_its_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with detached(data) as supervisor:
        first = json.loads(gifchat("status", "--json", "--data", str(data)).stdout)
        pids = descendants(supervisor)
        assert {process["pid"] for process in first["processes"]} <= pids
        again = gifchat("up", "--data", str(data), "--port", str(free_port()))
        assert again.returncode == 2
        assert "already running" in again.stderr
    wait_until_none_runs(pids | {supervisor})
    status = gifchat("status", "--json", "--data", str(data))
    assert (status.returncode, json.loads(status.stdout)) == (1, {"running": False})

    started = time.monotonic()
    with detached(data):
        assert time.monotonic() - started < 10
        second = json.loads(gifchat("status", "--json", "--data", str(data)).stdout)
        names = [(process["name"], process["port"]) for process in first["processes"] if process["name"] != "nginx"]
        assert names == [(p["name"], p["port"]) for p in second["processes"] if p["name"] != "nginx"]


def test_no_process_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    with detached(tmp_path / "data") as supervisor:
        pids = descendants(supervisor)
        assert len(pids) >= 6
        os.kill(supervisor, signal.SIGKILL)
        wait_until_none_runs(pids)


def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("wb") as stream:
        arguments = [
            "--gateways",
            "1",
            "--rooms-api",
            "1",
            "--port",
            str(free_port()),
            "--data",
            str(tmp_path / "data"),
        ]
        process = subprocess.Popen([sys.executable, "-m", "gifchat_cli", "up", *arguments], stdout=stream)
    try:
        block_until(lambda: "Ready: http://localhost:" in output.read_text(), "readiness", timeout_s=90)
        pids = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    wait_until_none_runs(pids)
    said = output.read_text()
    assert said.rstrip().endswith("Stopped.")
    assert "gateway-1   │ " in said
    assert "killed" not in said


def test_the_error_for_a_taken_port_has_a_remedy(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        answer = gifchat("up", "--data", str(tmp_path / "data"), "--port", str(port))
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"Another program uses port {port}: choose another port")
    assert answer.stderr.count("\n") == 1


def test_the_error_for_a_missing_library_has_a_remedy(tmp_path: Path) -> None:
    mongod = tmp_path / "mongod"
    mongod.write_text("#!/bin/sh\necho 'mongod: error while loading shared libraries: libcurl.so.4' >&2\nexit 127\n")
    mongod.chmod(0o755)
    program = (
        "import sys; from pathlib import Path; from gifchat_cli import prerequisites;"
        "prerequisites._in_package = lambda *_: None;"
        "from gifchat_cli.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, "up", "--data", str(tmp_path / "data"), "--port", str(free_port())],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stderr.count("\n")) == (2, 1)
    assert "apt-get install libcurl4" in answer.stderr


def test_a_service_that_cannot_start_stops_the_cluster_and_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as failure, running_cluster("--gateways", "1", env={"EMPTY_ROOM_TTL": "soon"}):
        pytest.fail("it started")
    said = str(failure.value)
    assert "crashed too often: stopping." in said
    assert "rooms-api-1.log" in said or "rooms-api-2.log" in said
    assert "3 crashes within a minute" in said


async def test_nginx_serves_the_page(cluster: EmbeddedCluster) -> None:
    async with httpx.AsyncClient(base_url=cluster.url) as client:
        page = await client.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["server"] == "nginx"
        assert "content-security-policy" in page.headers
        assert (await client.get("/api/v1/rooms")).json()["items"] is not None
        for hidden in (
            "/internal/v1/rooms/" + "0" * 24,
            "//internal/v1/heads",
            "/api/%2e%2e/internal/v1/heads",
            "/metrics",
        ):
            assert (await client.get(hidden)).status_code == 404, hidden


async def test_nginx_compresses_the_texts_of_the_pages(cluster: EmbeddedCluster) -> None:
    async with visitor(cluster.url, "ko") as http:
        page = await http.get("/", headers={"accept": "text/html"})
        [url] = re.findall(r'"texts_url":"([^"]+)"', page.text)
        answer = await http.get(url)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.json()["texts"]["language_name"] == "한국어"


def test_the_status_shows_every_process(cluster: EmbeddedCluster) -> None:
    processes = cluster.processes()
    kinds = [process["kind"] for process in processes.values()]
    assert kinds == ["mongodb", "valkey", "rooms-api", "rooms-api", "web", "gateway", "gateway", "gateway", "nginx"]
    assert all(process["ready"] and is_running(process["pid"]) for process in processes.values())
    assert "gateway-3" in cluster.gifchat("status")
    assert cluster.gifchat("logs", "gateway-1")


def test_a_paused_process_continues_with_the_same_pid(cluster: EmbeddedCluster) -> None:
    pid = cluster.processes()["gateway-1"]["pid"]
    with cluster.paused("gateway-1"):
        block_until(lambda: state_of(pid) == "T", "the pause of gateway-1")
    block_until(lambda: state_of(pid) in "RS", "the end of the pause")
    assert cluster.wait_for("gateway-1", lambda process: process["ready"])["pid"] == pid


async def test_the_password_in_a_link_reaches_no_log(cluster: EmbeddedCluster) -> None:
    secret = "hunter2-in-a-link"
    async with httpx.AsyncClient(base_url=cluster.url) as client:
        link = f"/room/{'0' * 24}?password={secret}"
        assert (await client.get(link)).status_code in (302, 303, 404)
        await client.get("/", headers={"Referer": cluster.url + link})
        block_until(lambda: f"/room/{'0' * 24} HTTP" in cluster.log("nginx-access"), "the line of the access log")
    for log in (cluster.data / "logs").iterdir():
        assert secret not in log.read_text(errors="replace"), log.name


async def test_a_too_large_body_yields_a_problem_document(cluster: EmbeddedCluster) -> None:
    async with visitor(cluster.url) as client:
        answer = await client.post("/api/v1/rooms", content=b"x" * 100_000)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "payload_too_large"


async def test_scaling_drops_no_connection(cluster: EmbeddedCluster) -> None:
    async with AsyncExitStack() as stack, visitor(cluster.url) as client:

        async def connect(count: int, transport: str = "websocket") -> list[ChatSocket]:
            cookies = cookie_header(client)
            return [
                await stack.enter_async_context(chat_socket(cluster.url, cookies, (transport,))) for _ in range(count)
            ]

        early = await connect(SOCKETS) + await connect(3, "polling")
        counts = {name: p["sockets"] for name, p in cluster.processes().items() if p["kind"] == "gateway"}
        assert all(count > 0 for count in counts.values()), f"one gateway got no connection: {counts}"

        cluster.scale("gateways", 5)
        assert len([name for name in cluster.processes() if name.startswith("gateway-")]) == 5
        late = await connect(SOCKETS)
        for name in ("gateway-4", "gateway-5"):
            assert cluster.wait_for(name, lambda process: process["sockets"] > 0)["ready"]
        assert all(chat.connected and not chat.disconnects for chat in early + late)

        cluster.scale("gateways", 3)
        assert set(counts) == {name for name in cluster.processes() if name.startswith("gateway-")}
        assert all(chat.connected and not chat.disconnects for chat in early)
        assert any(chat.connected for chat in await connect(3))


async def test_shed_drain_and_a_rolling_restart_only_move_sockets(cluster: EmbeddedCluster) -> None:
    async with AsyncExitStack() as stack:
        chats = [await stack.enter_async_context(chat_socket(cluster.url)) for _ in range(SOCKETS)]
        before = {name: p["sockets"] for name, p in cluster.processes().items() if p["kind"] == "gateway"}

        cluster.gifchat("shed", "gateway-1", "50%")
        kept = before["gateway-1"] - (before["gateway-1"] + 1) // 2
        cluster.wait_for("gateway-1", lambda process: process["sockets"] == kept)

        cluster.gifchat("drain", "gateway-2")
        cluster.wait_for("gateway-2", lambda process: process["state"] == "drained")
        moved = (before["gateway-1"] + 1) // 2 + before["gateway-2"]
        async with asyncio.timeout(20):
            while sum(not chat.connected for chat in chats) < moved:
                await asyncio.sleep(0.05)
        assert sum(not chat.connected for chat in chats) == moved, "sockets of other gateways were dropped"

        late = [await stack.enter_async_context(chat_socket(cluster.url)) for _ in range(6)]
        assert all(chat.connected for chat in late), "nginx still routes to a draining gateway"

    pids = {name: p["pid"] for name, p in cluster.processes().items() if p["kind"] == "gateway"}
    cluster.gifchat("restart", "gateways")
    after = {name: p for name, p in cluster.processes().items() if p["kind"] == "gateway"}
    assert after.keys() == pids.keys()
    assert all(p["ready"] and p["pid"] != pids[name] for name, p in after.items())


def test_a_drained_gateway_stays_out_of_nginx_until_it_is_restarted(cluster: EmbeddedCluster) -> None:
    everyone = {"gateway-1", "gateway-2", "gateway-3"}
    cluster.gifchat("drain", "gateway-2")
    assert cluster.gateways_behind_nginx() == everyone - {"gateway-2"}
    cluster.scale("gateways", 4)
    assert cluster.gateways_behind_nginx() == {*everyone, "gateway-4"} - {"gateway-2"}
    cluster.scale("rooms-api", 3)
    cluster.scale("rooms-api", 2)
    cluster.scale("gateways", 3)
    cluster.gifchat("restart", "gateway-1")
    assert cluster.gateways_behind_nginx() == everyone - {"gateway-2"}
    assert cluster.processes()["gateway-2"]["state"] == "drained"
    assert "drained" in cluster.gifchat("status")

    cluster.gifchat("restart", "gateway-2")
    assert cluster.gateways_behind_nginx() == everyone
    assert cluster.processes()["gateway-2"]["state"] == "ready"

    cluster.gifchat("drain", "gateway-2")
    assert cluster.gateways_behind_nginx() == everyone - {"gateway-2"}
    pid = cluster.kill("gateway-2")
    cluster.wait_for("gateway-2", lambda process: process["state"] == "ready" and process["pid"] != pid)
    block_until(lambda: cluster.gateways_behind_nginx() == everyone, "nginx with the gateway that came back")


def test_the_last_serving_gateway_cannot_be_drained(cluster: EmbeddedCluster) -> None:
    cluster.gifchat("drain", "gateway-1")
    cluster.gifchat("drain", "gateway-2")
    answer = gifchat("drain", "gateway-3", "--data", str(cluster.data))
    assert (answer.returncode, answer.stderr.split(":")[0]) == (1, "Only gateway-3 takes sockets")
    answer = gifchat("scale", "gateways=2", "--data", str(cluster.data))
    assert (answer.returncode, answer.stderr.split(":")[0]) == (1, "All remaining gateways are drained")
    assert cluster.gateways_behind_nginx() == {"gateway-3"}
    cluster.gifchat("restart", "gateways")
    assert cluster.gateways_behind_nginx() == {"gateway-1", "gateway-2", "gateway-3"}


async def test_a_restart_of_all_begins_with_hidden_gateways(cluster: EmbeddedCluster) -> None:
    cluster.gifchat("drain", "gateway-2")
    cluster.gifchat("drain", "gateway-3")
    restarting = asyncio.create_task(asyncio.to_thread(cluster.gifchat, "restart", "gateways"))
    opened = 0
    async with httpx.AsyncClient(base_url=cluster.url, timeout=10) as http:
        while not restarting.done():
            answer = await http.get("/socket.io/?EIO=4&transport=polling")
            assert answer.status_code == 200, answer.text
            opened += 1
            await asyncio.sleep(0.05)
    await restarting
    assert opened > 5
    assert cluster.gateways_behind_nginx() == {"gateway-1", "gateway-2", "gateway-3"}


def test_a_process_that_does_not_exist_cannot_be_restarted(cluster: EmbeddedCluster) -> None:
    answer = gifchat("restart", "gateway-9", "--data", str(cluster.data))
    assert (answer.returncode, answer.stderr) == (
        1,
        "There is no gateway-9; there are: gateway-1, gateway-2, gateway-3, rooms-api-1, rooms-api-2.\n",
    )


def test_only_gateways_can_be_drained(cluster: EmbeddedCluster) -> None:
    answer = gifchat("drain", "nginx", "--data", str(cluster.data))
    assert answer.returncode == 1
    assert answer.stderr.startswith("There is no gateway nginx; gateways: gateway-1")


def test_a_killed_gateway_restarts_and_its_restarts_are_counted(cluster: EmbeddedCluster) -> None:
    before = cluster.processes()["gateway-2"]["restarts"]
    pid = cluster.kill("gateway-2")
    after = cluster.wait_for("gateway-2", lambda process: process["ready"] and process["pid"] != pid)
    assert after["restarts"] == before + 1


def test_a_killed_nginx_restarts(cluster: EmbeddedCluster) -> None:
    pid = cluster.kill("nginx")
    cluster.wait_for("nginx", lambda process: process["ready"] and process["pid"] != pid)
    assert httpx.get(cluster.url + "/health/live").text == "ok\n"


def rooms_of_a_bench(cluster: EmbeddedCluster) -> list[dict[str, Any]]:
    rooms = httpx.get(cluster.url + "/api/v1/rooms", params={"limit": 100}).json()["items"]
    return [room for room in rooms if room["title"].startswith("gifchat bench")]


def test_a_bench_reports_its_viewers_and_leaves_nothing_behind(cluster: EmbeddedCluster) -> None:
    answer = cluster.gifchat(
        *("bench", "--url", cluster.url, "--json", "--room-size", "8"),
        *("--step", "10", "--max", "25", "--rate", "10", "--hold", "1", "--p99", "60000"),
    )
    result = json.loads(answer)
    assert (result["viewers"], result["stopped_by"], result["rooms"]) == (25, "max", 4)
    assert (result["cluster"], result["gateways"]) == ({"rooms-api": 2, "gateway": 3}, 3)
    assert [step["viewers"] for step in result["steps"]] == [10, 20, 25]
    assert all(step["deliveries"] == step["expected"] > 0 for step in result["steps"])
    assert all(0 < step["p50_ms"] <= step["p99_ms"] for step in result["steps"])
    assert rooms_of_a_bench(cluster) == []

    page = cluster.gifchat("bench", "--step", "5", "--hold", "0.5", "--p99", "0.001")
    assert "The cluster did not hold the first step." in page
    assert "Stopped: at 5 viewers p99 was" in page
    assert f"Again: gifchat bench --url {cluster.url} --rate 10 --p99 0.001 --step 5" in page


def test_an_interrupted_bench_reports_its_steps_and_leaves_nothing_behind(cluster: EmbeddedCluster) -> None:
    bench = subprocess.Popen(
        [
            *(sys.executable, "-m", "gifchat_cli", "bench", "--url", cluster.url, "--json"),
            *("--data", str(cluster.data), "--step", "5", "--hold", "100"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        block_until(lambda: any(room["members"] for room in rooms_of_a_bench(cluster)), "a viewer in the bench's room")
        bench.send_signal(signal.SIGINT)
        said, _ = bench.communicate(timeout=30)
    finally:
        bench.kill()
        bench.wait()
    assert bench.returncode == 130
    assert (json.loads(said)["stopped_by"], json.loads(said)["viewers"]) == ("interrupted", 0)
    assert rooms_of_a_bench(cluster) == []


async def test_a_user_signs_out_everywhere(cluster: EmbeddedCluster) -> None:
    async with httpx.AsyncClient(base_url=cluster.url) as browser, httpx.AsyncClient(base_url=cluster.url) as copy:
        me = (await browser.post("/api/v1/session")).json()
        copy.headers["Cookie"] = cookie_header(browser)
        assert (await copy.post("/api/v1/session")).json() == me
        async with chat_socket(cluster.url, cookie_header(browser)) as chat:
            answer = await browser.delete("/api/v1/session")
            assert (answer.status_code, answer.headers["cache-control"]) == (204, "no-store")
            assert "gifchat_session" not in browser.cookies
            await until(lambda: chat.disconnects, timeout_s=5)
        async with asyncio.timeout(5):
            # The rooms' ids spread the requests over all replicas.
            for number in range(8):
                while (answer := await copy.post(f"/api/v1/rooms/{number:024x}/tickets", json={})).status_code != 401:
                    await asyncio.sleep(0.02)
                assert answer.json()["code"] == "session_revoked"
        assert (await copy.post("/api/v1/session")).json() != me
