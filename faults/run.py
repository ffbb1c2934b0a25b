"""One run of a row: load, fault, recovery and verdict."""

import asyncio
import random
import shutil
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from faults.clients.load import Load
from faults.judge import records
from faults.judge.checker import Verdict, judge
from faults.judge.dump import Dump
from faults.judge.records import now
from faults.row import Figures, Row, slug
from faults.system.cluster import FaultCluster

INJECT_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The outcome of one run."""

    row: str
    seed: int
    took_s: float
    verdict: Verdict
    figures: Figures = field(default_factory=dict)
    error: str = ""
    """Why the run itself failed; the verdict then means little."""
    folder: str = ""
    """The folder of its records and logs, if they were kept."""

    def as_expected(self, row: Row) -> bool:
        """Whether nothing was breached; for a mutant, whether the checker caught it."""
        if self.error:
            return False
        return bool(row.caught_by & set(self.verdict.breaches)) if row.is_mutant else self.verdict.ok


async def run_fault(row: Row, seed: int, cluster: FaultCluster, folder: Path, *, short: bool = False) -> Run:
    """Run `row` once on a running cluster of its shape; write records and the dump to `folder`, which must be empty.

    All randomness comes from `seed`, but the processes' timing still varies.
    """
    rng = random.Random(f"{row.name} {seed}")  # noqa: S311 - a load, not a secret
    started = time.monotonic()
    load = Load(cluster, row.load, folder, rng, short=short)
    figures: Figures = {}
    error = ""
    try:
        await load.begin()
        await asyncio.sleep(rng.uniform(0.2, 0.5) if short else rng.uniform(0.5, 1.5))
        load.record(records.FaultBegan(t=now(), fault=row.name))
        async with asyncio.timeout(INJECT_TIMEOUT_S):
            figures = await row.inject(cluster, load, rng) or {}
        load.fault_over()
        await asyncio.sleep(row.settle_s / 3 if short else row.settle_s)
        await load.finish_writing(row.catch_up_s)
        await load.catch_up(row.catch_up_s)
        await load.ghosts_gone(row.limits.ghosts_s + 2.0)
    except (AssertionError, TimeoutError, OSError, httpx.HTTPError) as problem:
        error = f"{type(problem).__name__}: {problem}"
    finally:
        await load.end()
    if died := [process.name for process in cluster.processes if process.died]:
        error = f"{', '.join(died)} exited unexpectedly; {error}"
    dump = await asyncio.to_thread(load.dump)
    await asyncio.to_thread(dump.write, folder / "dump.json")
    verdict = judge_folder(folder, row)
    return Run(
        row=row.name, seed=seed, took_s=time.monotonic() - started, verdict=verdict, figures=figures, error=error
    )


def judge_folder(folder: Path, row: Row) -> Verdict:
    """Judge the files that `run_fault` wrote to a folder."""
    return judge(records.read(folder), Dump.read(folder / "dump.json"), row.limits)


class RowRunner:
    """Runs rows, and keeps a cluster for the next row of the same shape.

    A run that does not end as expected leaves its records and all logs in its own folder under `kept`.
    """

    def __init__(self, kept: Path) -> None:
        self._kept = kept
        self._stack = AsyncExitStack()
        self._cluster: FaultCluster | None = None

    async def run(self, row: Row, seed: int, *, short: bool = False) -> Run:
        """Run a row once, on a healed cluster or a new one."""
        with tempfile.TemporaryDirectory(prefix="gifchat-run-") as name:
            folder = Path(name)
            cluster = await self._ready(row)
            run = await run_fault(row, seed, cluster, folder, short=short)
            if not run.as_expected(row):
                kept = self._keep(run, cluster, folder)
                run = Run(
                    row=run.row,
                    seed=seed,
                    took_s=run.took_s,
                    verdict=run.verdict,
                    figures=run.figures,
                    error=run.error,
                    folder=str(kept),
                )
                await self.close()
        return run

    async def close(self) -> None:
        """Stop the cluster."""
        self._cluster = None
        await self._stack.aclose()

    async def _ready(self, row: Row) -> FaultCluster:
        if self._cluster is not None and self._cluster.shape == row.shape:
            try:
                await self._cluster.heal()
            except AssertionError:
                await self.close()
        else:
            await self.close()
        if self._cluster is None:
            self._cluster = await self._stack.enter_async_context(FaultCluster(row.shape))
        return self._cluster

    def _keep(self, run: Run, cluster: FaultCluster, folder: Path) -> Path:
        kept = self._kept / f"{slug(run.row)}-{run.seed}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(folder, kept)
        for process in cluster.processes:
            if process.log_path.exists():
                shutil.copy(process.log_path, kept)
        return kept
