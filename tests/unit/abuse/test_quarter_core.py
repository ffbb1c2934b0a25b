"""The limiter of an attacker's CPU time."""

import asyncio
import sys

from abuse.quarter_core import cpu_s, hold_to_share

from gifchat_chassis.background_tasks import cancel_until_done
from gifchat_testkit.processes import die_at_once_with_parent

_SPIN = "print(flush=True)\nwhile True: pass"


async def test_a_busy_process_gets_its_share_and_no_more() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _SPIN), stdout=asyncio.subprocess.PIPE, preexec_fn=die_at_once_with_parent
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        began_s, cpu_before_s = asyncio.get_running_loop().time(), cpu_s(process.pid)
        held = asyncio.create_task(hold_to_share(process.pid, share=0.1))
        async with asyncio.timeout(30):
            while (used_s := cpu_s(process.pid) - cpu_before_s) < 0.1:
                await asyncio.sleep(0.01)
        # Only a lower bound is asserted, and a busy machine can only add time. The first 25 ms are free.
        assert asyncio.get_running_loop().time() - began_s > (used_s - 0.05) / 0.1 * 0.5
        await cancel_until_done(held)
    finally:
        process.kill()
        await process.wait()


async def test_a_limiter_ends_with_its_process() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    async with asyncio.timeout(10):
        await process.wait()
        await hold_to_share(process.pid)
