"""The processes of a cluster, and which of them nginx routes to."""

import asyncio
import contextlib
from collections.abc import Collection, Iterable
from typing import Any

from gifchat_cli.child import Child, ChildState, ProcessSpec
from gifchat_cli.control import RefusedError
from gifchat_cli.kinds import SCALABLE, Kind
from gifchat_cli.servers.readiness import NotReadyError, get_health

_ORDER = {kind: place for place, kind in enumerate(Kind)}


class Roster:
    """All processes by name. Those in `drained` and `looping` are hidden: nginx does not route to them."""

    def __init__(self) -> None:
        self.children: dict[str, Child] = {}
        self.drained: set[str] = set()
        """Gateways that were drained and not restarted since."""
        self.looping: set[str] = set()
        """Processes in a crash loop."""

    @property
    def hidden(self) -> set[str]:
        """The names that nginx's configuration leaves out."""
        return self.drained | self.looping

    def of_kind(self, kind: Kind) -> list[Child]:
        """The processes of a kind, in the order in which they started."""
        return [child for child in self.children.values() if child.spec.kind is kind]

    def serving(self, kind: Kind, exclude: str = "") -> bool:
        """Whether nginx can route to a process of this kind, other than `exclude`."""
        return any(child.spec.name not in {exclude, *self.hidden} for child in self.of_kind(kind))

    def others_serve(self, name: str) -> bool:
        """Whether nginx can route to another process of the same kind."""
        return self.serving(self.children[name].spec.kind, exclude=name)

    def routed(self, exclude: Collection[str] = ()) -> list[ProcessSpec]:
        """The processes that nginx may route to, other than `exclude`."""
        hidden = {*exclude, *self.hidden}
        return [child.spec for child in self.children.values() if child.spec.name not in hidden]

    def named(self, what: str) -> list[str]:
        """The names of all processes of a scalable kind, or the one process with that name.

        Raises:
            RefusedError: there is no such process.
        """
        known = {kind: sorted(self.of_kind(kind), key=number_of) for kind in SCALABLE.values()}
        names = [child.spec.name for children in known.values() for child in children]
        if what in SCALABLE:
            return [child.spec.name for child in known[SCALABLE[what]]]
        if what in names:
            return [what]
        raise RefusedError(f"There is no {what}; there are: {', '.join(names)}.")

    def gateway(self, name: str) -> Child:
        """The gateway with that name.

        Raises:
            RefusedError: there is no such gateway, or it is in a crash loop.
        """
        child = self.children.get(name)
        if child is None or child.spec.kind is not Kind.GATEWAY:
            known = ", ".join(sorted(child.spec.name for child in self.of_kind(Kind.GATEWAY)))
            raise RefusedError(f"There is no gateway {name}; gateways: {known}.")
        if name in self.looping:
            raise RefusedError(f"{name} is in a crash loop: it has no sockets to move.")
        return child

    def show(self, name: str) -> bool:
        """Let nginx route to a process again. Return False if it already did."""
        was_hidden = name in self.hidden
        self.drained.discard(name)
        self.looping.discard(name)
        return was_hidden

    def remove(self, names: Iterable[str]) -> None:
        """Forget processes that have stopped."""
        for name in list(names):
            del self.children[name]
            self.show(name)

    async def status(self) -> list[dict[str, Any]]:
        """For each process: name, kind, pid, port, state, ready, sockets (gateways; None elsewhere), restarts."""
        children = sorted(self.children.values(), key=lambda child: (_ORDER[child.spec.kind], number_of(child)))
        asking = (asyncio.to_thread(_status_of, child, child.spec.name in self.drained) for child in children)
        return list(await asyncio.gather(*asking))


def number_of(child: Child) -> int:
    """The replica's number, from 1; 0 for a process that has no replicas."""
    number = child.spec.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _status_of(child: Child, drained: bool) -> dict[str, Any]:
    ready = child.state is ChildState.READY
    sockets: int | None = None
    if ready and child.spec.kind in (Kind.ROOMS_API, Kind.WEB, Kind.GATEWAY):
        try:
            health = get_health(child.spec.port)
        except NotReadyError:
            ready = False
        else:
            with contextlib.suppress(KeyError, TypeError, ValueError):
                sockets = int(health["sockets"])
    state = str(child.state)
    if child.state is ChildState.READY and not ready:
        state = "drained" if drained else "unready"
    return {
        "name": child.spec.name,
        "kind": str(child.spec.kind),
        "pid": child.pid,
        "port": child.spec.port,
        "state": state,
        "ready": ready,
        "sockets": sockets,
        "restarts": child.restarts,
    }
