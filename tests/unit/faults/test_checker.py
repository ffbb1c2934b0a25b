"""The checker on hand-written logs: a good run passes, and each violation is counted in its own field."""

from dataclasses import replace
from pathlib import Path

import pytest
from faults.judge import delivery, records, seats, times
from faults.judge.checker import Limits, Verdict, judge, percentile
from faults.judge.dump import Dump, Stored
from faults.judge.records import Record, Recorder

ROOM, OTHER, EPOCH = "room-a", "room-b", "epoch"
Log = list[Record]
Logs = dict[str, Log]


def message(room: str, seq: int) -> str:
    return f"{room}-{seq}"


def received(t: float, seq: int, source: records.Source = "live", room: str = ROOM) -> records.Received:
    return records.Received(t=t, room=room, event="chat", epoch=EPOCH, seq=seq, key=message(room, seq), source=source)


def applied(t: float, seq: int, view: int = 1, room: str = ROOM) -> records.Applied:
    return records.Applied(t=t, view=view, epoch=EPOCH, seq=seq, key=message(room, seq))


def shown(t: float, seq: int, source: records.Source = "live", view: int = 1) -> Log:
    return [received(t, seq, source), applied(t, seq, view)]


def join(t: float, declared: int | None, head: int, items: int = 0, recovered: bool = True) -> Log:
    sent = records.JoinSent(t=t, room=ROOM, epoch="" if declared is None else EPOCH, seq=declared or 0)
    return [
        sent,
        records.Joined(t=t + 0.01, room=ROOM, epoch=EPOCH, seq=head, recovered=recovered, items=items),
    ]


def posted(t: float, seq: int, room: str = ROOM) -> Log:
    key = message(room, seq)
    return [
        records.Attempt(t=t, room=room, key=key, number=1),
        records.Acked(t=t + 0.02, room=room, key=key, epoch=EPOCH, seq=seq),
    ]


def reader_that_stays() -> Log:
    """Joins an empty room, receives 1–3, is disconnected from 4.1 to 4.9, recovers 4–5, receives 6."""
    return [
        records.Begun(t=0.0, room=ROOM, user="ann", transport="websocket"),
        records.Connected(t=0.1, gateway="gateway-1"),
        *join(0.2, None, 0, recovered=False),
        records.ViewBegan(t=0.21, view=1, epoch=EPOCH, seq=0),
        *shown(1.05, 1),
        *shown(2.05, 2),
        *shown(3.05, 3),
        records.Disconnected(t=4.1, reason="closed"),
        records.Connected(t=4.8, gateway="gateway-2"),
        *join(4.89, 3, 5, items=2),
        received(4.9, 4, "recent"),
        received(4.9, 5, "recent"),
        applied(4.9, 4),
        applied(4.9, 5),
        *shown(6.05, 6),
        records.Stopped(t=9.0, how="end"),
    ]


def reader_that_goes() -> Log:
    """Joins, receives 1–3, and vanishes at 4."""
    return [
        records.Begun(t=0.0, room=ROOM, user="bob", transport="polling"),
        records.Connected(t=0.1, gateway="gateway-1"),
        *join(0.2, None, 0, recovered=False),
        records.ViewBegan(t=0.21, view=1, epoch=EPOCH, seq=0),
        *shown(1.06, 1),
        *shown(2.06, 2),
        *shown(3.06, 3),
        records.Stopped(t=4.0, how="vanished"),
    ]


def reports(until: float, free_at: float) -> Log:
    return [
        records.Occupancy(t=t / 4, room=ROOM, members=2 if t / 4 < free_at else 1) for t in range(2, int(until * 4) + 1)
    ]


def good() -> Logs:
    return {
        "run": [
            records.RoomMade(t=0.0, room=ROOM, max=2, owner="olga"),
            records.RoomMade(t=0.0, room=OTHER, max=2, owner="olga"),
            records.Used(t=0.0, process="gateway-1", pid=7, phase="before", rss_bytes=80 * 2**20, files=17),
            records.FaultBegan(t=4.0, fault="by hand"),
            records.FaultEnded(t=4.2),
            records.Used(t=17.0, process="gateway-1", pid=7, phase="after", rss_bytes=82 * 2**20, files=18),
        ],
        "ann": reader_that_stays(),
        "bob": reader_that_goes(),
        "writer": [record for seq in range(1, 7) for record in posted(float(seq), seq)],
        "watcher": reports(16.0, free_at=14.5),
    }


def dump(*more: Stored) -> Dump:
    return Dump([*(Stored(ROOM, EPOCH, seq, "ann", message(ROOM, seq), True) for seq in range(1, 7)), *more])


def verdict(logs: Logs, stored: Dump | None = None, limits: Limits | None = None) -> Verdict:
    return judge(logs, stored or dump(), limits)


def without(logs: Logs, client: str, *seqs: int, kind: type[Record] | None = None) -> Logs:
    kinds = (kind,) if kind else (records.Received, records.Applied)
    logs[client] = [r for r in logs[client] if not (isinstance(r, kinds) and getattr(r, "seq", None) in seqs)]
    return logs


def after(log: Log, kind: type[Record], seq: int) -> int:
    """Return the index after the record of this kind and seq."""
    return next(at for at, r in enumerate(log) if isinstance(r, kind) and getattr(r, "seq", None) == seq) + 1


def test_a_good_run_passes_with_its_figures() -> None:
    found = verdict(good())
    assert found.problems == ()
    assert found.ok
    assert (found.acknowledged, found.delivered, found.resyncs) == (6, 9, 0)
    assert found.resume_s == pytest.approx((0.8,))
    assert found.ghosts_max_s == pytest.approx(10.5)
    assert found.heal_s == pytest.approx(0.7), "entry 4 was 0.88 s late, at 4.9"
    assert found.peak_reconnects_per_s == 1


@pytest.mark.parametrize("seq", [4, 6])
def test_i1_a_message_that_never_arrived_is_lost(seq: int) -> None:
    assert "lost" in verdict(without(good(), "ann", seq)).breaches


def test_i1_leavers_and_late_joiners_are_not_owed_other_messages() -> None:
    logs = without(good(), "bob", 3)
    assert verdict(logs).ok
    logs["late"] = [
        records.Begun(t=5.0, room=ROOM, user="bob", transport="polling"),
        records.Connected(t=5.1, gateway="gateway-2"),
        *join(5.2, None, 5, items=1, recovered=False),
        received(5.2, 5, "recent"),
        records.ViewBegan(t=5.2, view=1, epoch=EPOCH, seq=4),
        applied(5.2, 5),
        *shown(6.1, 6),
        records.Stopped(t=9.0, how="end"),
    ]
    assert verdict(logs).ok


def test_i1_a_truncated_log_counts_as_staying() -> None:
    logs = good()
    logs["ann"] = logs["ann"][: after(logs["ann"], records.Applied, 3)]
    assert verdict(logs).lost == 3


def test_i1_an_acknowledgement_of_a_message_not_in_the_database_is_false() -> None:
    logs = good()
    logs["writer"] += [
        records.Attempt(t=7.0, room=ROOM, key="ghostly", number=1),
        records.Acked(t=7.1, room=ROOM, key="ghostly", epoch=EPOCH, seq=7),
    ]
    assert {"false_acks", "lost"} <= set(verdict(logs).breaches)
    assert verdict(logs, dump(Stored(ROOM, EPOCH, 7, "ann", "another", True))).false_acks == 1


def test_i1_a_message_without_an_outcome_is_unsettled() -> None:
    logs = good()
    logs["writer"].append(records.GaveUp(t=8.0, room=ROOM, key="later"))
    assert verdict(logs).breaches == ("unsettled",)


def test_i2_an_entry_sent_twice_on_a_join_is_a_duplicate() -> None:
    logs = good()
    logs["ann"].insert(after(logs["ann"], records.Applied, 3), received(3.5, 2))
    assert verdict(logs).breaches == ("duplicated",)


def test_i2_an_entry_below_the_declared_position_is_a_duplicate() -> None:
    logs = good()
    at = next(i for i, r in enumerate(logs["ann"]) if isinstance(r, records.Received) and r.source == "recent")
    logs["ann"].insert(at, received(4.9, 3, "recent"))
    assert verdict(logs).breaches == ("duplicated",)


def test_i2_an_entry_shown_twice_is_a_duplicate() -> None:
    logs = good()
    logs["ann"].insert(after(logs["ann"], records.Applied, 3), applied(3.5, 3))
    assert verdict(logs).breaches == ("duplicated",)


def test_i2_a_message_stored_or_acknowledged_at_two_seqs_is_a_duplicate() -> None:
    again = Stored(ROOM, EPOCH, 7, "ann", message(ROOM, 2), True)
    assert verdict(good(), dump(again)).duplicated == 1
    logs = good()
    logs["writer"].append(records.Acked(t=7.1, room=ROOM, key=message(ROOM, 2), epoch=EPOCH, seq=7))
    assert verdict(logs, dump(again)).duplicated == 2


def test_i2_the_newest_page_after_a_reset_is_not_a_duplicate() -> None:
    logs = good()
    logs["ann"][-1:] = [
        records.Resync(t=7.0, room=ROOM, seq=6),
        *join(7.0, None, 6, items=2, recovered=False),
        received(7.1, 5, "recent"),
        received(7.1, 6, "recent"),
        records.ViewBegan(t=7.1, view=2, epoch=EPOCH, seq=4),
        applied(7.1, 5, view=2),
        applied(7.1, 6, view=2),
        logs["ann"][-1],
    ]
    found = verdict(logs)
    assert found.ok, found.problems
    assert found.resyncs == 1


def test_i3_a_hole_without_a_lost_message_is_found() -> None:
    logs = without(good(), "ann", 2)
    logs["writer"] = [r for r in logs["writer"] if getattr(r, "key", "") != message(ROOM, 2)]
    assert verdict(logs).breaches == ("out_of_order",)


def test_i3_reordering_is_found() -> None:
    logs = without(good(), "ann", 2)
    at = after(logs["ann"], records.Applied, 3)
    logs["ann"][at:at] = shown(3.1, 2)
    found = verdict(logs)
    assert found.breaches == ("out_of_order",)
    assert found.out_of_order >= 2, "sent and shown out of order"


def test_i3_a_hole_in_the_database_is_found() -> None:
    assert verdict(good(), dump(Stored(ROOM, EPOCH, 8, "ann", "x", True))).breaches == ("out_of_order",)


def test_i4_more_members_than_seats_are_found() -> None:
    logs = good()
    logs["watcher"].append(records.Occupancy(t=16.5, room=ROOM, members=3))
    assert verdict(logs).breaches == ("over_admitted",)


def test_i4_more_receivers_of_an_event_than_seats_are_found() -> None:
    logs = good()
    logs["run"][0] = records.RoomMade(t=0.0, room=ROOM, max=1, owner="olga")
    logs["watcher"] = [replace(look, members=1) for look in logs["watcher"] if isinstance(look, records.Occupancy)]
    assert verdict(logs).breaches == ("over_admitted",)


def test_i4_only_the_owner_may_be_above_max() -> None:
    logs = good()
    logs["run"][0] = records.RoomMade(t=0.0, room=ROOM, max=1, owner="ann")
    assert "over_admitted" not in verdict(logs).breaches
    logs["watcher"].append(records.Occupancy(t=16.5, room=ROOM, members=3))
    assert verdict(logs).breaches == ("over_admitted",)


def test_i4_another_rooms_owner_is_a_member_like_any_other() -> None:
    logs = good()
    logs["run"][:2] = [
        records.RoomMade(t=0.0, room=ROOM, max=1, owner="olga"),
        records.RoomMade(t=0.0, room=OTHER, max=1, owner="ann"),
    ]
    assert "over_admitted" in verdict(logs).breaches


def test_i4_two_tabs_are_one_user() -> None:
    logs = good()
    logs["run"][0] = records.RoomMade(t=0.0, room=ROOM, max=1, owner="olga")
    logs["watcher"] = [replace(look, members=1) for look in logs["watcher"] if isinstance(look, records.Occupancy)]
    logs["bob"][0] = records.Begun(t=0.0, room=ROOM, user="ann", transport="polling")
    assert "over_admitted" not in verdict(logs).breaches


def test_i4_a_returning_user_who_finds_the_room_full_lost_a_seat() -> None:
    logs = good()
    at = next(i for i, r in enumerate(logs["ann"]) if isinstance(r, records.Connected) and r.gateway == "gateway-2") + 1
    refusal = records.JoinRefused(t=4.85, room=ROOM, code="room_full", retry=True, evicted=False)
    logs["ann"].insert(at, refusal)
    assert verdict(logs).breaches == ("seats_lost",)
    assert verdict(logs, limits=Limits(seats_kept_s=None)).ok
    logs["ann"][at] = replace(refusal, code="recovering")
    assert verdict(logs).ok


def test_i4_a_returning_user_announced_as_gone_lost_a_seat() -> None:
    logs = good()
    logs["bob"].insert(-1, records.Presence(t=4.5, room=ROOM, event="exit", user="ann"))
    assert verdict(logs).breaches == ("seats_lost",)
    logs["bob"][-2] = records.Presence(t=4.5, room=ROOM, event="exit", user="somebody else")
    assert verdict(logs).ok


def test_i5_a_ghost_that_stays_too_long_is_found() -> None:
    logs = good()
    logs["watcher"] = reports(20.0, free_at=16.5)
    found = verdict(logs)
    assert found.breaches == ("ghosts",)
    assert found.ghosts_max_s == pytest.approx(12.5)


def test_i5_a_ghost_that_never_leaves_is_found() -> None:
    logs = good()
    logs["watcher"] = reports(20.0, free_at=99.0)
    assert verdict(logs).breaches == ("ghosts",)


def test_i6_an_event_of_another_room_is_found() -> None:
    logs = good()
    logs["ann"].insert(after(logs["ann"], records.Applied, 3), received(3.5, 9, room=OTHER))
    assert "crossed" in verdict(logs).breaches


def test_i6_a_message_that_differs_from_the_database_is_found() -> None:
    logs = good()
    logs["ann"] = [
        replace(r, key="forged") if isinstance(r, records.Applied) and r.seq == 2 else r for r in logs["ann"]
    ]
    assert verdict(logs).breaches == ("crossed",)


def test_i6_an_entry_that_is_not_in_the_database_is_found() -> None:
    logs = good()
    logs["ann"][-1:-1] = shown(7.0, 7)
    assert verdict(logs).breaches == ("crossed",)


@pytest.mark.parametrize(("rss_bytes", "files"), [(82 * 2**20, 120), (200 * 2**20, 18)])
def test_i7_leaked_memory_and_files_are_found(rss_bytes: int, files: int) -> None:
    logs = good()
    last = records.Used(t=17.0, process="gateway-1", pid=7, phase="after", rss_bytes=rss_bytes, files=files)
    logs["run"][-1] = last
    assert verdict(logs).breaches == ("leaked",)
    logs["run"][-1] = replace(last, pid=8)
    assert verdict(logs).ok, "a restarted process is skipped"


def test_i8_the_peak_of_reconnects_is_judged() -> None:
    logs = good()
    for number in range(5):
        logs[f"storm-{number}"] = [
            records.Begun(t=0.0, room=OTHER, user=f"user-{number}", transport="websocket"),
            records.Connected(t=0.1, gateway="gateway-1"),
            records.Connected(t=5.0 + number / 10, gateway="gateway-2"),
            records.Stopped(t=9.0, how="end"),
        ]
    assert verdict(logs).peak_reconnects_per_s == 6
    assert verdict(logs, limits=Limits(reconnects_per_s=5)).breaches == ("reconnects",)


def test_a_row_can_limit_times() -> None:
    assert verdict(good(), limits=Limits(resume_p99_s=0.5)).breaches == ("slow",)
    assert verdict(good(), limits=Limits(heal_s=0.5)).breaches == ("slow",)
    assert verdict(good(), limits=Limits(late_s=1.0)).heal_s == 0


def test_records_and_dumps_are_read_back(tmp_path: Path) -> None:
    logs = good()
    for client, log in logs.items():
        with Recorder(tmp_path / f"{client}.jsonl") as recorder:
            for record in log:
                recorder.write(record)
    dump().write(tmp_path / "dump.json")
    assert records.read(tmp_path) == logs
    assert Dump.read(tmp_path / "dump.json") == dump()


def test_a_percentile_is_one_of_the_values() -> None:
    assert (percentile([], 99), percentile([3.0, 1.0, 2.0], 50), percentile([3.0, 1.0, 2.0], 99)) == (0.0, 2.0, 3.0)


def test_empty_logs_have_no_problems() -> None:
    assert seats.ghosts_s({}) == times.resumes_s({}) == []
    assert list(delivery.stored_problems({}, Dump([]))) == []
