"""How long does it take from a POST to the delivery to the last of 1,000 members, and where is the time spent?"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import contenders, machine, product
from benchmarks.harness.fan_out import SETTLE_S, Log
from benchmarks.harness.load import Load, load
from benchmarks.harness.rounds import Options, Result, interleaved
from benchmarks.harness.testbed import open_testbed
from gifchat_cli.bench.generator import stamp
from gifchat_contracts.ids import RoomId

TITLE = "From a POST to the last delivery in a room of 1,000"
MEMBERS = 1_000
EVERY_S = 0.05


def run(options: Options, log: Log) -> Result:
    """Measure rooms-api, MongoDB, Valkey and a gateway together at 20 messages per second."""
    columns = {
        "reply_p50": "POST reply, p50, ms",
        "reply_p99": "p99",
        "commit": "of which the commit, mean, ms",
        "first_p50": "first delivery, p50, ms",
        "first_p99": "p99",
        "last_p50": "last delivery, p50, ms",
        "last_p99": "p99",
    }
    result = Result("post-to-delivery", TITLE, columns)
    messages = options.size(200, 40)
    sent = 0

    def measure(clients: Load, api: product.RoomsApi, room_id: RoomId) -> Mapping[str, float]:
        nonlocal sent
        replies: list[float] = []
        commit_s, commits = api.commit_seconds()
        timeout_s = messages * EVERY_S + 30
        clients.listen(messages, timeout_s)
        with api.client() as http:
            for _ in range(messages):
                began = time.monotonic()
                text = stamp(int(began * 1e6), sent + 1, sent)
                http.post(
                    f"/api/v1/rooms/{room_id}/messages",
                    json={"client_message_id": f"bench-{sent}", "text": text},
                    headers=product.membership(room_id),
                ).raise_for_status()
                replies.append(time.monotonic() - began)
                sent += 1
                time.sleep(max(0.0, EVERY_S - (time.monotonic() - began)))
        received = clients.finish_listening(timeout_s)
        later_s, later = api.commit_seconds()
        replies.sort()
        return {
            "reply_p50": replies[len(replies) // 2] * 1e3,
            "reply_p99": replies[int(len(replies) * 0.99)] * 1e3,
            "commit": (later_s - commit_s) / (later - commits) * 1e3,
            "first_p50": received["first"]["p50_us"] / 1e3,
            "first_p99": received["first"]["p99_us"] / 1e3,
            "last_p50": received["last"]["p50_us"] / 1e3,
            "last_p99": received["last"]["p99_us"] / 1e3,
        }

    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gifchat-bench-")))
        testbed = stack.enter_context(open_testbed(folder))
        mongo_url = stack.enter_context(product.mongod(folder, testbed.port())).url
        api = stack.enter_context(product.rooms_api(testbed, mongo_url, machine.LOAD_CORE))
        room_id = api.make_room()
        gateway = testbed.start(contenders.OURS, rooms_api_port=api.port)
        clients = stack.enter_context(load(gateway, folder, [0] * MEMBERS, room_ids=[room_id]))
        clients.connect(MEMBERS)
        clients.idle(SETTLE_S)
        result.rows = interleaved({"GIF Chat": partial(measure, clients, api, room_id)}, options.rounds, log)
    result.notes.append(
        "All times count from just before the POST. The commit is a majority write with journal. The reply adds HTTP, "
        "the session and the membership. An event is published before the reply is sent, so the first delivery may be "
        "earlier than the reply."
    )
    return result
