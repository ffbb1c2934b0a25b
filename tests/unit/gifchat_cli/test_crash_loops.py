from pathlib import Path

import pytest

from gifchat_cli.child import Child, ProcessSpec
from gifchat_cli.crash_loops import CrashLoops
from gifchat_cli.kinds import Kind
from gifchat_cli.roster import Roster


class World:
    """Two gateways that are not started, and the messages and nginx reloads that they caused."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.reloads = 0
        self.roster = Roster()
        self.crash_loops = CrashLoops(self.roster, self.said.append, self.reload)
        for name in ("gateway-1", "gateway-2"):
            spec = ProcessSpec(name=name, kind=Kind.GATEWAY, port=1, command=["true"], probe=lambda: None, env={})
            self.roster.children[name] = Child(
                spec,
                folder / f"{name}.log",
                on_line=lambda *_: None,
                on_event=self.said.append,
                on_ready=self.crash_loops.on_ready,
                on_crash_loop=self.crash_loops.on_crash_loop,
            )
        self.first, self.second = self.roster.children.values()

    def reload(self) -> None:
        self.reloads += 1


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_nginx_skips_a_crashing_process_until_it_recovers(world: World) -> None:
    assert world.crash_loops.on_crash_loop(world.first)
    assert world.said[-1].startswith(
        "nginx skips gateway-1, which is restarted at least every 30 s.\nThe last lines of"
    )
    assert (world.roster.hidden, world.reloads) == ({"gateway-1"}, 1)
    world.crash_loops.on_ready(world.first)
    assert world.said[-1] == "gateway-1 is ready again."
    assert (world.roster.hidden, world.reloads) == (set(), 2)
    world.crash_loops.on_ready(world.first)
    assert world.reloads == 2


async def test_the_crash_loop_of_the_last_serving_process_is_fatal(world: World) -> None:
    world.roster.drained.add("gateway-2")
    assert not world.crash_loops.on_crash_loop(world.first)
    assert world.crash_loops.fatal.result() is world.first


async def test_the_removal_of_the_last_serving_process_is_fatal(world: World) -> None:
    assert world.crash_loops.on_crash_loop(world.first)
    world.roster.remove(["gateway-2"])
    world.crash_loops.processes_removed()
    assert world.crash_loops.fatal.result() is world.first


async def test_a_drained_gateway_serves_again_after_its_restart(world: World) -> None:
    world.roster.drained.add("gateway-1")
    world.crash_loops.on_ready(world.first)
    assert (world.roster.hidden, world.reloads, world.said) == (set(), 1, [])
