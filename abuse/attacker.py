"""`python -m abuse.attacker NAME`: reads the stage, attacks until its standard input ends, and prints its findings."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from abuse.attack import Attack, Stage, load_attacks
from abuse.quarter_core import cpu_s, hold_to_share
from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_testkit.processes import die_at_once_with_parent

_ROOT = Path(__file__).parents[1]
_END_TIMEOUT_S = 20.0


class Attacker:
    """The attacker's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.findings: dict[str, int] = {}
        """Filled in when the attack has ended."""
        self.cpu_s = 0.0
        """The CPU time of the attack."""
        self._began_cpu_s = cpu_s(process.pid)

    async def end(self) -> None:
        """End the attack.

        Raises:
            AssertionError: it failed, or did not end in time.
        """
        with suppress(OSError):  # It has ended already; the exit code is checked below.
            self.cpu_s = cpu_s(self._process.pid) - self._began_cpu_s
        try:
            async with asyncio.timeout(_END_TIMEOUT_S):
                out, _ = await self._process.communicate(b"")
        except TimeoutError:
            self._process.kill()
            raise AssertionError("the attacker did not end") from None
        assert self._process.returncode == 0, "the attacker failed"
        self.findings = json.loads(out)


@asynccontextmanager
async def attacking(attack: Attack, stage: Stage) -> AsyncIterator[Attacker]:
    """Run an attack with a quarter of a core until the block ends. Its findings are known after that."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "abuse.attacker", attack.name),
        cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_at_once_with_parent,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{json.dumps(_described(stage))}\n".encode())
        # It reports when it is ready, because importing Python modules is not part of the attack.
        assert await process.stdout.readline() == b"ready\n", "the attacker did not start"
        attacker = Attacker(process)
        held = asyncio.create_task(hold_to_share(process.pid))
        try:
            yield attacker
        finally:
            await cancel_until_done(held)
        await attacker.end()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _described(stage: Stage) -> dict[str, Any]:
    return {"url": stage.url, "address": stage.address, "room": stage.room, "prepared": stage.prepared}


async def _attack(attack: Attack, stage: Stage) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), over.set)
    attacks = asyncio.ensure_future(attack.run(stage))
    attacks.add_done_callback(lambda _: over.set())
    print("ready", flush=True)
    await over.wait()
    if attacks.done():
        attacks.result()
        raise RuntimeError(f"{attack.name} ended by itself")
    await cancel_until_done(attacks)


def main() -> int:
    """Run the attack that the command line names."""
    _, name = sys.argv
    attack = next(attack for attack in load_attacks() if attack.name == name)
    stage = Stage(**json.loads(sys.stdin.readline()))
    asyncio.run(_attack(attack, stage))
    print(json.dumps(stage.findings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
