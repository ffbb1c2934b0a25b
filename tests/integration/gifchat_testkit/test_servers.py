import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient, WriteConcern
from redis import Redis

from gifchat_contracts import keys

pytestmark = pytest.mark.servers


def test_mongo_takes_majority_journaled_writes(mongo_url: str, mongo_database: str) -> None:
    with MongoClient[dict[str, Any]](mongo_url) as client:
        things = client[mongo_database].get_collection("things", write_concern=WriteConcern(w="majority", j=True))
        things.insert_one({"_id": 1})
        assert things.count_documents({}) == 1


def test_every_test_has_its_own_database(mongo_url: str, mongo_database: str) -> None:
    with MongoClient[dict[str, Any]](mongo_url) as client:
        assert client[mongo_database].list_collection_names() == []


@pytest.mark.parametrize("turn", [1, 2])
def test_valkey_is_empty_for_every_test(valkey: str, turn: int) -> None:
    with Redis.from_url(valkey, decode_responses=True) as client:
        assert client.dbsize() == keys.PARTITIONS
        assert client.get(keys.generation(63)) == "0"
        client.set("left over", turn)


CRASH = """
import os, pathlib, signal, sys
from gifchat_cli.ports import free_port
from gifchat_cli.prerequisites import find_valkey_server
from gifchat_cli.servers.valkey import Valkey
from gifchat_testkit.servers import running

folder = pathlib.Path(sys.argv[1])
server = Valkey(find_valkey_server(), free_port(), folder)
with running("valkey", server.command(), folder, server.wait_until_ready) as pid:
    print(pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_servers_die_with_a_killed_test_session(tmp_path: Path) -> None:
    answer = subprocess.run([sys.executable, "-c", CRASH, tmp_path], stdout=subprocess.PIPE, text=True, check=False)
    assert answer.returncode == -signal.SIGKILL
    wait_until_gone(int(answer.stdout))


def wait_until_gone(pid: int, timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
