"""Our counters have no lock, but Prometheus reads them like the library's counters."""

from prometheus_client import CollectorRegistry, Counter, generate_latest

from gifchat_realtime_gateway.metrics import Tallies


def test_tallies_are_exposed_like_the_librarys_counters() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tallies = Tallies("events", "For a test.", "kind", registry=ours)
    counter = Counter("events", "For a test.", ("kind",), registry=theirs)
    for kind, count in (("chat", 3), ("join", 0), ("chat", 4)):
        tallies.of(kind).count += count
        counter.labels(kind).inc(count)
    assert lines(ours) == lines(theirs)
    assert 'events_total{kind="chat"} 7.0' in lines(ours)


def test_a_tally_without_a_label() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    Tallies("deliveries", "For a test.", registry=ours).of().count += 2
    Counter("deliveries", "For a test.", registry=theirs).inc(2)
    assert lines(ours) == lines(theirs)


def lines(registry: CollectorRegistry) -> list[str]:
    """Return the exposed lines, without creation times."""
    exposed = generate_latest(registry).decode().splitlines()
    return [
        line.rpartition(" ")[0] if line.partition("{")[0].endswith("_created") or "_created " in line else line
        for line in exposed
    ]
