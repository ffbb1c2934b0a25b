"""Runs a cluster: starts it in order, keeps it running, scales it, stops it in order."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterable
from typing import Any

from gifchat_local.blueprint import Blueprint
from gifchat_local.child import Child, ChildState, ProcessSpec
from gifchat_local.control import Answer, RefusedError, Request, serve
from gifchat_local.data_folder import DataFolder, State
from gifchat_local.kinds import SCALABLE, STOP_ORDER, Kind
from gifchat_local.logs import MAX_BYTES, set_aside, tail
from gifchat_local.servers.gateway import GatewayRefusedError, ask_gateway
from gifchat_local.servers.nginx import Upstreams
from gifchat_local.servers.readiness import NotReadyError, get_health
from gifchat_local.servers.valkey import mark_as_new

START_TIMEOUT_S = 90.0
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
        self._ready = False
        self._scaling = asyncio.Lock()
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
            ClusterError: something did not get ready, or crashed too often; everything is stopped again.
        """
        control_path = self._folder.socket_path()
        control_path.unlink(missing_ok=True)  # of a supervisor that was killed
        control = await serve(control_path, self._handle)
        watching_logs = asyncio.create_task(self._bound_access_log())
        try:
            if await self._unless_stopped(self._start_all()):
                self._ready = True
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
        return list(await asyncio.gather(*(asyncio.to_thread(_status_of, child) for child in children)))

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

    async def _start(self, specs: Iterable[ProcessSpec]) -> None:
        started = []
        for spec in specs:
            child = Child(spec, self._folder.log(spec.name), self._on_line, self._say, self._on_failed)
            self._children[spec.name] = child
            child.start()
            started.append(child)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await asyncio.gather(*(child.wait_until_ready() for child in started))
        except TimeoutError:
            late = next((child for child in started if child.state is not ChildState.READY), started[0])
            raise ClusterError(
                _with_last_lines(f"{late.spec.name} did not get ready within {START_TIMEOUT_S:.0f} s.", late)
            ) from None

    async def _unless_stopped(self, work: Any) -> bool:
        """Do `work` to its end: True. False: a stop was requested first.

        Raises:
            ClusterError: a process crashed too often.
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

    def _on_failed(self, child: Child) -> None:
        if not self._failed.done():
            self._failed.set_result(child)

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
            case {"command": "restart", "what": str(what)} if what in SCALABLE:
                return await self._restart(SCALABLE[what])
            case {"command": "drain", "name": str(name)}:
                return await self._drain(name)
            case {"command": "shed", "name": str(name), "share": int() | float() as share}:
                return await self._ask_gateway(name, "/internal/v1/shed", {"share": share})
            case _:
                raise RefusedError(f"unknown request {request!r}")

    async def _scale(self, kind: Kind, count: int) -> Answer:
        if not 1 <= count <= MAX_REPLICAS:
            raise RefusedError(f"A cluster has 1 to {MAX_REPLICAS} processes of a kind.")
        if not self._ready:
            raise RefusedError("The cluster is not ready yet: try again in a moment.")
        async with self._scaling:
            running = sorted(self._of_kind(kind), key=_number_of)
            spec_of = self._blueprint.gateway if kind is Kind.GATEWAY else self._blueprint.rooms_api
            numbers = [number for number in range(1, count + 1) if f"{kind}-{number}" not in self._children]
            if len(running) < count:
                await self._add([spec_of(number) for number in numbers])
            else:
                leaving = running[count:]
                names = {child.spec.name for child in leaving}
                await self._reload_nginx([spec for spec in self._specs() if spec.name not in names])
                await asyncio.gather(*(child.stop() for child in leaving))
                for name in names:
                    del self._children[name]
            self._folder.save_state(self._state)
        return {"processes": await self.status()}

    async def _restart(self, kind: Kind) -> Answer:
        """One after the other, each out of nginx's sight while it is away: the others have its sockets meanwhile."""
        if not self._ready:
            raise RefusedError("The cluster is not ready yet: try again in a moment.")
        async with self._scaling:
            for child in sorted(self._of_kind(kind), key=_number_of):
                spec = child.spec
                await self._reload_nginx([other for other in self._specs() if other.name != spec.name] or [spec])
                await child.stop()
                try:
                    await self._start([spec])
                except ClusterError as error:
                    raise RefusedError(str(error)) from error
                await self._reload_nginx(self._specs())
        return {"processes": await self.status()}

    async def _drain(self, name: str) -> Answer:
        """Nginx sends it nothing new, and it moves away what it has; it stays so until it is restarted."""
        async with self._scaling:
            others = [spec for spec in self._specs() if spec.name != name]
            if not any(spec.kind is Kind.GATEWAY for spec in others):
                raise RefusedError(f"{name} is the only gateway: `gifchat scale gateways=2` first.")
            answer = await self._ask_gateway(name, "/internal/v1/drain", {})
            await self._reload_nginx(others)
        return answer

    async def _ask_gateway(self, name: str, path: str, content: dict[str, Any]) -> Answer:
        child = self._children.get(name)
        if child is None or child.spec.kind is not Kind.GATEWAY:
            known = ", ".join(sorted(child.spec.name for child in self._of_kind(Kind.GATEWAY)))
            raise RefusedError(f"There is no gateway {name}; gateways: {known}.")
        try:
            await asyncio.to_thread(ask_gateway, child.spec.port, self._state.internal_token, path, content)
        except GatewayRefusedError as error:
            raise RefusedError(f"{name}: {error}") from error
        return {"processes": await self.status()}

    async def _add(self, specs: list[ProcessSpec]) -> None:
        try:
            await self._start(specs)
            await self._reload_nginx(self._specs())
        except ClusterError as error:
            for spec in specs:
                await self._children.pop(spec.name).stop()
            raise RefusedError(str(error)) from error

    def _of_kind(self, kind: Kind) -> list[Child]:
        return [child for child in self._children.values() if child.spec.kind is kind]

    def _specs(self) -> list[ProcessSpec]:
        return [child.spec for child in self._children.values()]

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

    async def _reload_nginx(self, specs: Iterable[ProcessSpec]) -> None:
        """New connections go by the new configuration; those that are open stay with their old worker."""
        await self._configure_nginx(specs)
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


def _status_of(child: Child) -> dict[str, Any]:
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
    return {
        "name": child.spec.name,
        "kind": str(child.spec.kind),
        "pid": child.pid,
        "port": child.spec.port,
        "state": str(child.state) if ready or child.state is not ChildState.READY else "unready",
        "ready": ready,
        "sockets": sockets,
        "restarts": child.restarts,
    }
