"""Runs a cluster: starts it in order, keeps it running, scales it, stops it in order."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Collection, Iterable
from typing import Any

from gifchat_cli.blueprint import Blueprint
from gifchat_cli.child import Child, ChildState, ProcessSpec
from gifchat_cli.control import Answer, RefusedError, Request, serve
from gifchat_cli.data_folder import DataFolder, State
from gifchat_cli.kinds import SCALABLE, STOP_ORDER, Kind
from gifchat_cli.logs import MAX_BYTES, set_aside, tail
from gifchat_cli.restart_policy import MAX_DELAY_S
from gifchat_cli.servers.gateway import GatewayRefusedError, ask_gateway
from gifchat_cli.servers.nginx import Upstreams
from gifchat_cli.servers.readiness import NotReadyError, get_health
from gifchat_cli.servers.valkey import mark_as_new

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 180.0
"""For all processes: more than the times after which each of them is killed."""
MAX_REPLICAS = 32
_LAST_LINES = 20
_ORDER = {kind: place for place, kind in enumerate(Kind)}
_LOOK_AT_LOGS_EVERY_S = 30.0


class ClusterError(Exception):
    """The cluster could not be started or had to be stopped; `str()` tells a person why."""


class Supervisor:
    """One running cluster. `on_line` gets the processes' output, `say` what happens to the cluster."""

    def __init__(
        self,
        blueprint: Blueprint,
        folder: DataFolder,
        state: State,
        on_line: Callable[[str, Kind, str], None],
        say: Callable[[str], None],
    ) -> None:
        self._blueprint = blueprint
        self._folder = folder
        self._state = state
        self._on_line = on_line
        self._say = say
        self._children: dict[str, Child] = {}
        self._drained: set[str] = set()
        """Gateways that nginx does not know until they are restarted."""
        self._set_aside: set[str] = set()
        """Processes in a crash loop. The configuration of nginx leaves them out until they recover."""
        self._ready = False
        self._scaling = asyncio.Lock()
        self._telling_nginx: set[asyncio.Task[None]] = set()
        self._stop_requested = asyncio.Event()
        self._failed: asyncio.Future[Child] = asyncio.get_running_loop().create_future()

    def request_stop(self) -> None:
        """Make `run` end; at the second call, without waiting for the processes."""
        if self._stop_requested.is_set():
            for child in self._children.values():
                child.kill()
        self._stop_requested.set()

    async def run(self, on_ready: Callable[[list[dict[str, Any]]], None]) -> None:
        """Start everything, call `on_ready(status of the processes)`, and return after a requested stop.

        Raises:
            ClusterError: a process did not get ready, or no process of a kind can serve. Everything is stopped again.
        """
        control_path = self._folder.socket_path()
        control_path.unlink(missing_ok=True)  # of a supervisor that was killed
        control = await serve(control_path, self._handle)
        watching_logs = asyncio.create_task(self._bound_access_log())
        try:
            if await self._unless_stopped(self._start_all()):
                self._ready = True
                if self._set_aside:
                    self._tell_nginx()
                on_ready(await self.status())
                await self._unless_stopped(asyncio.Event().wait())
        finally:
            watching_logs.cancel()
            self._ready = False
            await self._stop_all()
            control.close()
            control_path.unlink(missing_ok=True)

    async def status(self) -> list[dict[str, Any]]:
        """For each process: name, kind, pid, port, state, ready, sockets (gateways; None elsewhere), restarts."""
        children = sorted(self._children.values(), key=lambda child: (_ORDER[child.spec.kind], _number_of(child)))
        asking = (asyncio.to_thread(_status_of, child, child.spec.name in self._drained) for child in children)
        return list(await asyncio.gather(*asking))

    async def _start_all(self) -> None:
        blueprint, size = self._blueprint, self._blueprint.size
        await self._start(blueprint.stores())
        await asyncio.to_thread(mark_as_new, blueprint.valkey.url)
        services = [
            *(blueprint.rooms_api(number) for number in range(1, size.rooms_api + 1)),
            blueprint.web(),
            *(blueprint.gateway(number) for number in range(1, size.gateways + 1)),
        ]
        self._folder.save_state(self._state)
        await self._configure_nginx(services)
        await self._start([*services, blueprint.front_door()])

    async def _start(self, specs: Iterable[ProcessSpec]) -> list[Child]:
        """Start processes and wait until each is ready or in a crash loop; returns those in a crash loop.

        Raises:
            ClusterError: a process was neither within `START_TIMEOUT_S`.
        """
        started = []
        for spec in specs:
            child = Child(
                spec,
                self._folder.log(spec.name),
                on_line=self._on_line,
                on_event=self._say,
                on_ready=self._on_child_ready,
                on_crash_loop=self._on_crash_loop,
            )
            self._children[spec.name] = child
            child.start()
            started.append(child)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await asyncio.gather(*(child.wait_until_settled() for child in started))
        except TimeoutError:
            settled = {ChildState.READY, ChildState.CRASH_LOOP}
            late = next((child for child in started if child.state not in settled), started[0])
            raise ClusterError(
                _with_last_lines(f"{late.spec.name} did not get ready within {START_TIMEOUT_S:.0f} s.", late)
            ) from None
        return [child for child in started if child.state is ChildState.CRASH_LOOP]

    async def _unless_stopped(self, work: Any) -> bool:
        """Do `work` to its end: True. False: a stop was requested first.

        Raises:
            ClusterError: no process of a kind can serve.
        """
        working = asyncio.ensure_future(work)
        stopping = asyncio.create_task(self._stop_requested.wait())
        try:
            await asyncio.wait({working, stopping, self._failed}, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                child = self._failed.result()
                raise ClusterError(_with_last_lines(f"{child.spec.name} crashed too often: stopping.", child))
            if stopping.done():
                return False
            await working
            return True
        finally:
            stopping.cancel()
            if not working.done():
                working.cancel()
                await asyncio.wait({working})

    def _on_child_ready(self, child: Child) -> None:
        """Put a process back into nginx if it was drained or in a crash loop before this start."""
        if child.spec.name in self._drained | self._set_aside:
            self._drained.discard(child.spec.name)
            if child.spec.name in self._set_aside:
                self._set_aside.discard(child.spec.name)
                self._say(f"{child.spec.name} is ready again.")
            self._tell_nginx()

    def _on_crash_loop(self, child: Child) -> bool:
        """Take a crashing process out of nginx and keep retrying it; False if no other of its kind can serve."""
        self._set_aside.add(child.spec.name)
        if self._stop_if_none_serves(child.spec.kind, child):
            return False
        sentence = f"{child.spec.name} is set aside; it is retried, at least every {MAX_DELAY_S:g} s."
        self._say(_with_last_lines(sentence, child))
        self._tell_nginx()
        return True

    def _stop_if_none_serves(self, kind: Kind, crashed: Child) -> bool:
        if any(child.spec.name not in self._hidden for child in self._of_kind(kind)):
            return False
        if not self._failed.done():
            self._failed.set_result(crashed)
        return True

    def _tell_nginx(self) -> None:
        task = asyncio.create_task(self._reload_nginx_when_ready())
        self._telling_nginx.add(task)
        task.add_done_callback(self._telling_nginx.discard)

    async def _reload_nginx_when_ready(self) -> None:
        async with self._scaling:
            if self._ready and not self._failed.done():
                await self._reload_nginx()

    async def _stop_all(self) -> None:
        for kinds in STOP_ORDER:
            await asyncio.gather(*(child.stop() for child in self._children.values() if child.spec.kind in kinds))

    # ------------------------------------------------------------------------------------------------ requests

    async def _handle(self, request: Request) -> Answer:
        match request:
            case {"command": "status"}:
                return {
                    "pid": os.getpid(),
                    "ready": self._ready,
                    "url": self._blueprint.url,
                    "data": str(self._folder.path),
                    "processes": await self.status(),
                }
            case {"command": "stop"}:
                self.request_stop()
                return {}
            case {"command": "scale", "what": str(what), "count": int(count)} if what in SCALABLE:
                return await self._scale(SCALABLE[what], count)
            case {"command": "restart", "what": str(what)}:
                return await self._restart(what)
            case {"command": "drain", "name": str(name)}:
                return await self._drain(name)
            case {"command": "shed", "name": str(name), "share": int() | float() as share}:
                return await self._shed(name, share)
            case _:
                raise RefusedError(f"unknown request {request!r}")

    async def _scale(self, kind: Kind, count: int) -> Answer:
        if not 1 <= count <= MAX_REPLICAS:
            raise RefusedError(f"A cluster has 1 to {MAX_REPLICAS} processes of a kind.")
        if not self._ready:
            raise RefusedError("The cluster is not ready yet: try again in a moment.")
        async with self._scaling:
            running = sorted(self._of_kind(kind), key=self._staying_first)
            spec_of = self._blueprint.gateway if kind is Kind.GATEWAY else self._blueprint.rooms_api
            numbers = [number for number in range(1, count + 1) if f"{kind}-{number}" not in self._children]
            if len(running) < count:
                await self._add([spec_of(number) for number in numbers[: count - len(running)]])
            else:
                names = {child.spec.name for child in running[count:]}
                if self._hidden.issuperset(child.spec.name for child in running[:count]):
                    raise RefusedError("All gateways that would stay are drained: `gifchat restart gateways` first.")
                await self._reload_nginx(without=names)
                await self._remove(names)
            self._folder.save_state(self._state)
        return {"processes": await self.status()}

    def _staying_first(self, child: Child) -> tuple[bool, int]:
        """Sort key: `scale` removes from the end, first processes in a crash loop, then the newest."""
        return child.spec.name in self._set_aside, _number_of(child)

    async def _restart(self, what: str) -> Answer:
        """One after the other, each out of nginx's sight while it is away: the others have its sockets meanwhile."""
        if not self._ready:
            raise RefusedError("The cluster is not ready yet: try again in a moment.")
        async with self._scaling:
            # Those that nobody uses first: what takes sockets is then never the only one.
            for name in sorted(self._named(what), key=lambda name: name not in self._hidden):
                if self._others_behind_nginx(name):
                    await self._reload_nginx(without={name})
                await self._children[name].stop()
                self._drained.discard(name)
                self._set_aside.discard(name)
                try:
                    looping = await self._start([self._children[name].spec])
                except ClusterError as error:
                    raise RefusedError(str(error)) from error
                await self._reload_nginx()
                if looping:
                    raise RefusedError(_with_last_lines(f"{name} crashed too often: it is set aside.", looping[0]))
        return {"processes": await self.status()}

    def _named(self, what: str) -> list[str]:
        """All of a kind, or the one of that name; of what can be scaled."""
        known = {kind: sorted(self._of_kind(kind), key=_number_of) for kind in SCALABLE.values()}
        names = [child.spec.name for children in known.values() for child in children]
        if what in SCALABLE:
            return [child.spec.name for child in known[SCALABLE[what]]]
        if what in names:
            return [what]
        raise RefusedError(f"There is no {what}; there are: {', '.join(names)}.")

    async def _drain(self, name: str) -> Answer:
        """Nginx sends it nothing new, and it moves away what it has; it stays so until it is restarted."""
        async with self._scaling:
            gateway = self._gateway(name)
            self._refuse_crash_loop(name)
            if not self._others_behind_nginx(name):
                raise RefusedError(f"{name} is the only gateway that takes sockets: `gifchat scale gateways=2` first.")
            await self._ask(gateway, "/internal/v1/drain", {})
            self._drained.add(name)
            await self._reload_nginx()
        return {"processes": await self.status()}

    async def _shed(self, name: str, share: float) -> Answer:
        gateway = self._gateway(name)
        self._refuse_crash_loop(name)
        await self._ask(gateway, "/internal/v1/shed", {"share": share})
        return {"processes": await self.status()}

    def _gateway(self, name: str) -> Child:
        child = self._children.get(name)
        if child is None or child.spec.kind is not Kind.GATEWAY:
            known = ", ".join(sorted(child.spec.name for child in self._of_kind(Kind.GATEWAY)))
            raise RefusedError(f"There is no gateway {name}; gateways: {known}.")
        return child

    def _refuse_crash_loop(self, name: str) -> None:
        if name in self._set_aside:
            raise RefusedError(f"{name} is in a crash loop: it has no sockets to move.")

    async def _ask(self, gateway: Child, path: str, content: dict[str, Any]) -> None:
        try:
            await asyncio.to_thread(ask_gateway, gateway.spec.port, self._state.internal_token, path, content)
        except GatewayRefusedError as error:
            raise RefusedError(f"{gateway.spec.name}: {error}") from error

    async def _add(self, specs: list[ProcessSpec]) -> None:
        try:
            looping = await self._start(specs)
        except ClusterError as error:
            await self._remove(spec.name for spec in specs)
            raise RefusedError(str(error)) from error
        if looping:
            await self._remove(spec.name for spec in specs)
            raise RefusedError(_with_last_lines(f"{looping[0].spec.name} crashed too often.", looping[0]))
        await self._reload_nginx()

    async def _remove(self, names: Iterable[str]) -> None:
        names = set(names)
        await asyncio.gather(*(self._children[name].stop() for name in names))
        for name in names:
            del self._children[name]
        self._drained -= names
        self._set_aside -= names
        for child in self._children.values():
            if child.spec.name in self._set_aside:
                self._stop_if_none_serves(child.spec.kind, child)

    def _of_kind(self, kind: Kind) -> list[Child]:
        return [child for child in self._children.values() if child.spec.kind is kind]

    def _others_behind_nginx(self, name: str) -> bool:
        """Whether nginx would still know one of this kind without `name`."""
        kind = self._children[name].spec.kind
        return any(child.spec.name not in {name, *self._hidden} for child in self._of_kind(kind))

    @property
    def _hidden(self) -> set[str]:
        """The processes that the configuration of nginx leaves out."""
        return self._drained | self._set_aside

    # --------------------------------------------------------------------------------------------------- nginx

    async def _configure_nginx(self, specs: Iterable[ProcessSpec]) -> None:
        ports: dict[Kind, list[int]] = {Kind.GATEWAY: [], Kind.ROOMS_API: [], Kind.WEB: []}
        for spec in specs:
            if spec.kind in ports:
                ports[spec.kind].append(spec.port)
        nginx = self._blueprint.nginx
        nginx.write_config(Upstreams(ports[Kind.GATEWAY], ports[Kind.ROOMS_API], ports[Kind.WEB]))
        check = await asyncio.to_thread(
            subprocess.run, nginx.check_command(), capture_output=True, text=True, check=False
        )
        if check.returncode != 0:
            raise ClusterError(f"nginx refuses its configuration: {check.stderr.strip()}")

    async def _reload_nginx(self, without: Collection[str] = ()) -> None:
        """Tell nginx of all processes but those that are drained, in a crash loop, and `without`.

        New connections go by the new configuration; those that are open stay with their old worker.
        """
        hidden = {*without, *self._hidden}
        await self._configure_nginx(child.spec for child in self._children.values() if child.spec.name not in hidden)
        self._children["nginx"].send(signal.SIGHUP)

    async def _bound_access_log(self) -> None:
        path = self._folder.log("nginx-access")
        while True:
            await asyncio.sleep(_LOOK_AT_LOGS_EVERY_S)
            if path.exists() and path.stat().st_size > MAX_BYTES and "nginx" in self._children:
                set_aside(path)
                self._children["nginx"].send(signal.SIGUSR1)


def _number_of(child: Child) -> int:
    number = child.spec.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _with_last_lines(sentence: str, child: Child) -> str:
    lines = tail(child.log_path, _LAST_LINES)
    return "\n".join([sentence, f"The last lines of {child.log_path}:", *(f"  {line}" for line in lines)])


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
