"""Judges seats: I4 and I5.

I4: no more members than `max`, not counting the owner, and returning users keep their seat. I5: ghosts leave in time.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from faults.judge import records
from faults.judge.delivery import Problem
from faults.judge.records import Record

Logs = Mapping[str, Sequence[Record]]


def readers_of(logs: Logs) -> dict[str, Sequence[Record]]:
    """Return the readers' logs."""
    return {name: log for name, log in logs.items() if log and isinstance(log[0], records.Begun)}


def over_admissions(logs: Logs) -> Iterator[Problem]:
    """Compare the rooms' `max` with their occupancy, and with the number of users who receive the same live event.

    Owners may enter a full room. So an owner is not counted as a receiver, and may add one member to its room.
    """
    made = {record.room: record for log in logs.values() for record in log if isinstance(record, records.RoomMade)}
    seats = {room: record.max for room, record in made.items()}
    read_by = {(begun.room, begun.user) for begun, *_ in readers_of(logs).values() if isinstance(begun, records.Begun)}
    owned = {room for room, record in made.items() if (room, record.owner) in read_by}
    most_members: dict[str, int] = defaultdict(int)
    for log in logs.values():
        for record in log:
            if isinstance(record, records.Occupancy):
                most_members[record.room] = max(most_members[record.room], record.members)
    for room, members in most_members.items():
        yield from _excess(room, members - (room in owned), seats, "members beside the owner")
    receivers: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for log in readers_of(logs).values():
        begun = log[0]
        assert isinstance(begun, records.Begun)
        for record in log:
            if isinstance(record, records.Received) and record.source == "live" and not _owns(made, begun):
                receivers[record.room, record.epoch, record.seq].add(begun.user)
    most_receivers: dict[str, int] = defaultdict(int)
    for (room, _, _), users in receivers.items():
        most_receivers[room] = max(most_receivers[room], len(users))
    for room, users_at_once in most_receivers.items():
        yield from _excess(room, users_at_once, seats, "users who received one event")


def _owns(made: Mapping[str, records.RoomMade], begun: records.Begun) -> bool:
    return begun.room in made and made[begun.room].owner == begun.user


def _excess(room: str, count: int, seats: Mapping[str, int], what: str) -> Iterator[Problem]:
    max_members = seats.get(room)
    for number in range((max_members if max_members is not None else count) + 1, count + 1):
        yield Problem("over_admitted", f"{room} had {number} {what}, and {max_members} seats")


def ghosts_s(logs: Logs) -> list[float]:
    """Return for how long each leaving user's seat stayed taken, in seconds.

    If the seat was not free when occupancy was last reported, the time until that report counts.
    """
    stays = [_stay(log) for log in readers_of(logs).values()]
    reports: dict[str, list[records.Occupancy]] = defaultdict(list)
    for log in logs.values():
        for record in log:
            if isinstance(record, records.Occupancy):
                reports[record.room].append(record)
    durations = []
    for room, _, joined_at, left_at in stays:
        if joined_at is None or left_at is None:
            continue
        after = sorted((report for report in reports[room] if report.t >= left_at), key=lambda report: report.t)
        free_at = next((report.t for report in after if report.members <= _present(stays, room, report.t)), None)
        last = after[-1].t if after else left_at
        durations.append((free_at if free_at is not None else last) - left_at)
    return durations


Stay = tuple[str, str, float | None, float | None]
"""Room, user, time of the first successful join, time of leaving."""


def _stay(log: Sequence[Record]) -> Stay:
    begun = log[0]
    assert isinstance(begun, records.Begun)
    sent_at = joined_at = left_at = None
    for record in log:
        match record:
            case records.JoinSent(t=t):
                sent_at = t
            case records.Joined() if joined_at is None:
                joined_at = sent_at
            case records.Stopped(t=t, how="left" | "vanished"):
                left_at = t
            case _:
                pass
    return begun.room, begun.user, joined_at, left_at


def _present(stays: Sequence[Stay], room: str, t: float) -> int:
    """Return the number of users in the room, including those that are reconnecting."""
    return len(
        {
            user
            for its_room, user, joined_at, left_at in stays
            if its_room == room and joined_at is not None and joined_at <= t and (left_at is None or t < left_at)
        }
    )


def lost_seats(logs: Logs, kept_s: float) -> Iterator[Problem]:
    """Find users who were disconnected for less than `kept_s` but lost their seat or were announced as gone."""
    readers = readers_of(logs)
    exits = [record for log in readers.values() for record in log if isinstance(record, records.Presence)]
    for name, log in readers.items():
        begun = log[0]
        assert isinstance(begun, records.Begun)
        shown = {record.t for record in exits if record.event == "exit" and record.user == begun.user}
        joined, away_since = False, None
        away: list[tuple[float, float]] = []
        for record in log:
            match record:
                case records.Joined(t=t):
                    if away_since is not None:
                        away.append((away_since, t))
                    joined, away_since = True, None
                case records.Disconnected(t=t) if joined:
                    joined, away_since = False, t
                case records.JoinRefused(t=t, code="room_full", evicted=False) if away_since is not None:
                    if t - away_since < kept_s:
                        yield Problem("seats_lost", f"{name} found the room full after {t - away_since:.1f} s")
                case _:
                    pass
        for since, until in away:
            if until - since < kept_s and any(since <= t <= until + 1.0 for t in shown):
                yield Problem("seats_lost", f"{name} was away for {until - since:.1f} s and announced as gone")
