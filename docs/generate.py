"""Write the generated files: configuration.md, the golden errors.json, and the table of errors in protocol.md.

`python docs/generate.py` writes them; with `--check` it writes nothing and fails if a file is out of date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings

from gifchat_contracts import errors
from gifchat_realtime_gateway.settings import Settings as GatewaySettings
from gifchat_rooms_api.settings import Settings as RoomsApiSettings
from gifchat_web.settings import Settings as WebSettings

DOCS = Path(__file__).parent
SERVICES: dict[str, type[BaseSettings]] = {
    "rooms-api": RoomsApiSettings,
    "realtime-gateway": GatewaySettings,
    "web": WebSettings,
}
BEGIN, END = "<!-- generated: errors -->", "<!-- end -->"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _default(value: Any) -> str:
    if value in ("", None) or str(value) == "PydanticUndefined":
        return "–"
    if isinstance(value, (tuple, list)):
        value = ",".join(map(str, value))
    return f"`{value}`"


def _settings_table(settings: type[BaseSettings]) -> str:
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in sorted(settings.model_fields.items()):
        variable = str(field.validation_alias or name).upper()
        default = field.get_default(call_default_factory=True)
        if hasattr(default, "get_secret_value"):
            default = default.get_secret_value()
        rows.append(f"| `{variable}` | {_default(default)} | {_cell(field.description or '')} |")
    return "\n".join(rows)


def configuration() -> str:
    """Return the text of configuration.md, from the services' settings."""
    parts = [
        "# Configuration",
        "",
        "Environment variables configure every service. `make docs` generates this page from the settings;",
        "do not edit it.",
        "",
    ]
    for service, settings in SERVICES.items():
        parts += [f"## {service}", "", _settings_table(settings), ""]
    return "\n".join(parts)


def error_table() -> str:
    """Return the table of error codes, in the order of the contract."""
    rows = ["| code | status | action | English text |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{row.code}` | {row.status} | {row.action.value} | {_cell(row.text('en'))} |"
        for row in errors.TABLE.values()
    ]
    return "\n".join(rows)


def errors_json() -> str:
    """Return the same table as JSON, for the golden files of the contract."""
    rows = [{"code": row.code, "status": row.status, "action": row.action.value} for row in errors.TABLE.values()]
    return json.dumps(rows, ensure_ascii=False, indent=2) + "\n"


def documents() -> dict[Path, str]:
    """Return the text of each generated file by its path."""
    protocol = DOCS / "protocol.md"
    before, begin, rest = protocol.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{protocol.name} must contain {BEGIN} and {END}")
    return {
        DOCS / "configuration.md": configuration(),
        DOCS.parent / "contracts" / "golden" / "errors.json": errors_json(),
        protocol: f"{before}{BEGIN}\n{error_table()}\n{END}{after}",
    }


def main() -> int:
    """Write the files, or with `--check` only compare them."""
    check = "--check" in sys.argv[1:]
    stale = [
        path for path, text in documents().items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if check:
        for path in stale:
            print(f"{path.name} is out of date: run `make docs`")
        return 1 if stale else 0
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
