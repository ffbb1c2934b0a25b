"""Builds the write loop in C if there is a compiler, and copies the sibling packages into the wheel.

Without a compiler the gateway uses its write loop in Python.
"""

import runpy
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ENGINE = Path("src", "gifchat_realtime_gateway", "engine")
SIBLINGS = Path(__file__).parents[2] / "hatch_siblings.py"


class WriteLoop(BuildHookInterface[Any]):
    """Puts the compiled write loop into the wheel; for an editable install, beside its source."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See `BuildHookInterface`."""
        runpy.run_path(str(SIBLINGS))["include_siblings"](self.config["siblings"], version, build_data)
        source = Path(self.root, ENGINE, "write_loop.c")
        built = source.with_name(f"_write_loop{sysconfig.get_config_var('EXT_SUFFIX')}")
        compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
        flags = ["-O2", "-Wall", "-Wextra", "-shared", "-fPIC", f"-I{sysconfig.get_paths()['include']}"]
        command = [*compiler, *flags, "-o", str(built), str(source)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - Python's own compiler
        except (OSError, subprocess.CalledProcessError) as error:
            built.unlink(missing_ok=True)
            self.app.display_warning(
                f"The C write loop was not built, so the Python loop is used: {getattr(error, 'stderr', '') or error}"
            )
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"][str(built)] = str(Path("gifchat_realtime_gateway", "engine", built.name))
