"""Runs a cluster: starts it in order, keeps it running, scales it, stops it in order."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from gifchat_cli.blueprint import Blueprint
from gifchat_cli.child import Child, ChildState, ProcessSpec
from gifchat_cli.control import Answer, RefusedError, Request, serve
from gifchat_cli.crash_loops import CrashLoops, with_last_lines
from gifchat_cli.data_folder import DataFolder, State
from gifchat_cli.kinds import SCALABLE, STOP_ORDER, Kind
from gifchat_cli.logs import DAY_S, MAX_BYTES, MAX_DAYS, delete_outdated, is_outdated, rotate
from gifchat_cli.roster import Roster, number_of
from gifchat_cli.servers.gateway import GatewayRefusedError, ask_gateway
from gifchat_cli.servers.nginx import Upstreams
from gifchat_cli.servers.valkey import mark_as_new

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 180.0
"""Longer than all stop timeouts together; a process that exceeds its own stop timeout is killed."""
MAX_REPLICAS = 32
_LOG_CHECK_INTERVAL_S = 30.0


class ClusterError(Exception):
    """The cluster could not be started or had to be stopped; `str()` is a sentence for the user."""


class Supervisor:
    """One running cluster. `on_line` gets the processes' output; `say` gets messages about the cluster."""

    def __init__(
        self,
        blueprint: Blueprint,
        folder: DataFolder,
        state: State,
        on_line: Callable[[str, Kind, str], None],
        say: Callable[[str], None],
        *,
        log_days: float = MAX_DAYS,
    ) -> None:
        self._blueprint = blueprint
        self._log_age_s = log_days * DAY_S
        self._folder = folder
        self._state = state
        self._on_line = on_line
        self._say = say
        self._roster = Roster()
        self._crash_loops = CrashLoops(self._roster, say, self._schedule_nginx_reload)
        self._ready = False
        self._scaling = asyncio.Lock()
        self._pending_reloads: set[asyncio.Task[None]] = set()
        self._stop_requested = asyncio.Event()

    def request_stop(self) -> None:
        """Make `run` end. A second call kills the processes instead of waiting for them."""
        if self._stop_requested.is_set():
            for child in self._roster.children.values():
                child.kill()
        self._stop_requested.set()

    async def run(self, on_ready: Callable[[list[dict[str, Any]]], None]) -> None:
        """Start everything, call `on_ready(status of the processes)`, and return after a requested stop.

        Raises:
            ClusterError: a process did not get ready, or no process of a kind can serve. Everything is stopped again.
        """
        control_path = self._folder.socket_path()
        control_path.unlink(missing_ok=True)  # A killed supervisor leaves its socket behind.
        control = await serve(control_path, self._handle)
        watching_log = asyncio.create_task(self._bound_logs())
        try:
            if await self._unless_stopped(self._start_all()):
                self._ready = True
                if self._roster.looping:
                    self._schedule_nginx_reload()
                on_ready(await self._roster.status())
                await self._unless_stopped(asyncio.Event().wait())
        finally:
            watching_log.cancel()
            self._ready = False
            await self._stop_all()
            control.close()
            control_path.unlink(missing_ok=True)

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
            ClusterError: a process was neither ready nor in a crash loop within `START_TIMEOUT_S`.
        """
        started = []
        for spec in specs:
            child = Child(
                spec,
                self._folder.log(spec.name),
                on_line=self._on_line,
                on_event=self._say,
                on_ready=self._crash_loops.on_ready,
                on_crash_loop=self._crash_loops.on_crash_loop,
            )
            self._roster.children[spec.name] = child
            child.start()
            started.append(child)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await asyncio.gather(*(child.wait_until_settled() for child in started))
        except TimeoutError:
            settled = {ChildState.READY, ChildState.CRASH_LOOP}
            late = next((child for child in started if child.state not in settled), started[0])
            raise ClusterError(
                with_last_lines(f"{late.spec.name} did not get ready within {START_TIMEOUT_S:.0f} s.", late)
            ) from None
        return [child for child in started if child.state is ChildState.CRASH_LOOP]

    async def _unless_stopped(self, work: Any) -> bool:
        """Await `work` and return True, or return False if a stop is requested first.

        Raises:
            ClusterError: no process of a kind can serve.
        """
        working = asyncio.ensure_future(work)
        stopping = asyncio.create_task(self._stop_requested.wait())
        fatal = self._crash_loops.fatal
        try:
            await asyncio.wait({working, stopping, fatal}, return_when=asyncio.FIRST_COMPLETED)
            if fatal.done():
                child = fatal.result()
                raise ClusterError(with_last_lines(f"{child.spec.name} crashed too often: stopping.", child))
            if stopping.done():
                return False
            await working
            return True
        finally:
            stopping.cancel()
            if not working.done():
                working.cancel()
                await asyncio.wait({working})

    async def _stop_all(self) -> None:
        for kinds in STOP_ORDER:
            leaving = [child for child in self._roster.children.values() if child.spec.kind in kinds]
            await asyncio.gather(*(child.stop() for child in leaving))

    # ------------------------------------------------------------------------------------------------ requests

    async def _handle(self, request: Request) -> Answer:
        match request:
            case {"command": "status"}:
                return {
                    "pid": os.getpid(),
                    "ready": self._ready,
                    "url": self._blueprint.url,
                    "data": str(self._folder.path),
                    "processes": await self._roster.status(),
                }
            case {"command": "stop"}:
                self.request_stop()
                return {}
            case {"command": "scale", "what": str(what), "count": int(count)} if what in SCALABLE:
                await self._scale(SCALABLE[what], count)
            case {"command": "restart", "what": str(what)}:
                await self._restart(what)
            case {"command": "drain", "name": str(name)}:
                await self._drain(name)
            case {"command": "shed", "name": str(name), "share": int() | float() as share}:
                await self._ask(self._roster.gateway(name), "/internal/v1/shed", {"share": share})
            case _:
                raise RefusedError(f"unknown request {request!r}")
        return {"processes": await self._roster.status()}

    async def _scale(self, kind: Kind, count: int) -> None:
        if not 1 <= count <= MAX_REPLICAS:
            raise RefusedError(f"A cluster can have 1 to {MAX_REPLICAS} processes of a kind.")
        if not self._ready:
            raise RefusedError("The cluster is not ready yet: try again in a moment.")
        async with self._scaling:
            running = sorted(self._roster.of_kind(kind), key=self._staying_first)
            spec_of = self._blueprint.gateway if kind is Kind.GATEWAY else self._blueprint.rooms_api
            numbers = [number for number in range(1, count + 1) if f"{kind}-{number}" not in self._roster.children]
            if len(running) < count:
                await self._add([spec_of(number) for number in numbers[: count - len(running)]])
            else:
                names = {child.spec.name for child in running[count:]}
                if self._roster.hidden.issuperset(child.spec.name for child in running[:count]):
                    raise RefusedError("All remaining gateways are drained: run `gifchat restart gateways` first.")
                await self._reload_nginx(exclude=names)
                await self._remove(names)
            self._folder.save_state(self._state)

    def _staying_first(self, child: Child) -> tuple[bool, int]:
        """Sort key: `scale` removes from the end, first processes in a crash loop, then the newest."""
        return child.spec.name in self._roster.looping, number_of(child)

    async def _restart(self, what: str) -> None:
        """Restart processes one after the other; nginx routes to the others meanwhile."""
        if not self._ready:
            raise RefusedError("The cluster is not ready yet: try again in a moment.")
        roster = self._roster
        async with self._scaling:
            # Hidden processes first: once they serve again, the last serving process can be restarted too.
            for name in sorted(roster.named(what), key=lambda name: name not in roster.hidden):
                if roster.others_serve(name):
                    await self._reload_nginx(exclude={name})
                await roster.children[name].stop()
                roster.show(name)
                try:
                    looping = await self._start([roster.children[name].spec])
                except ClusterError as error:
                    raise RefusedError(str(error)) from error
                await self._reload_nginx()
                if looping:
                    raise RefusedError(with_last_lines(f"{name} crashed too often: nginx skips it.", looping[0]))

    async def _drain(self, name: str) -> None:
        """Hide a gateway from nginx and make it move its sockets away; it stays empty until it is restarted."""
        async with self._scaling:
            gateway = self._roster.gateway(name)
            if not self._roster.others_serve(name):
                raise RefusedError(f"Only {name} takes sockets: run `gifchat scale gateways=2` first.")
            await self._ask(gateway, "/internal/v1/drain", {})
            self._roster.drained.add(name)
            await self._reload_nginx()

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
            raise RefusedError(with_last_lines(f"{looping[0].spec.name} crashed too often.", looping[0]))
        await self._reload_nginx()

    async def _remove(self, names: Iterable[str]) -> None:
        names = set(names)
        await asyncio.gather(*(self._roster.children[name].stop() for name in names))
        self._roster.remove(names)
        self._crash_loops.processes_removed()

    # --------------------------------------------------------------------------------------------------- nginx

    def _schedule_nginx_reload(self) -> None:
        task = asyncio.create_task(self._reload_nginx_when_ready())
        self._pending_reloads.add(task)
        task.add_done_callback(self._pending_reloads.discard)

    async def _reload_nginx_when_ready(self) -> None:
        async with self._scaling:
            if self._ready and not self._crash_loops.fatal.done():
                await self._reload_nginx()

    async def _reload_nginx(self, exclude: Collection[str] = ()) -> None:
        """Make nginx route to all processes except hidden ones and `exclude`.

        New connections follow the new configuration; open ones stay with their old worker.
        """
        await self._configure_nginx(self._roster.routed(exclude))
        self._roster.children["nginx"].send(signal.SIGHUP)

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

    async def _bound_logs(self) -> None:
        while True:
            rotate_logs(self._folder, self._roster.children, self._log_age_s, time.time())
            await asyncio.sleep(_LOG_CHECK_INTERVAL_S)


def rotate_logs(folder: DataFolder, children: Mapping[str, Child], max_age_s: float, now_s: float) -> None:
    """Rotate logs that are too old, and nginx's access log if it is too large; delete the oldest.

    `now_s` is Unix time.
    """
    for child in children.values():
        child.rotate_log_if_outdated(max_age_s, now_s)
    path = folder.log("nginx-access")
    is_large = path.exists() and path.stat().st_size > MAX_BYTES
    if "nginx" in children and (is_large or is_outdated(path, max_age_s, now_s)):
        rotate(path)
        children["nginx"].send(signal.SIGUSR1)
    # With --detach, the supervisor's own output goes to a log that only its next start truncates.
    in_use = [child.log_path for child in children.values()] + [path, folder.log("supervisor")]
    delete_outdated(folder.logs, max_age_s, now_s, in_use)
