"""Build hook for our wheels: copies sibling packages such as `gifchat_contracts` into the wheel.

The siblings are not published, so a wheel that depended on their names could pull in a stranger's package. Instead, a
`pyproject.toml` lists them as `siblings = ["contracts", "chassis[redis]"]`: folders of this repository, with the
extras that it uses.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent


def include_siblings(siblings: Iterable[str], version: str, build_data: dict[str, Any]) -> None:
    """Add the packages of `siblings` to a standard wheel.

    Editable installs skip this, because a copy would hide later edits.
    """
    if version != "standard":
        return
    for sibling in siblings:
        folder = re.sub(r"\[.*\]", "", sibling)
        for package in (ROOT / folder / "src").iterdir():
            if (package / "__init__.py").exists():
                build_data["force_include"][str(package)] = package.name


class IncludeSiblings(BuildHookInterface[Any]):
    """Includes the siblings that the hook's configuration lists."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See `BuildHookInterface`."""
        include_siblings(self.config["siblings"], version, build_data)
