"""Structured logs: one format for all lines, including those of libraries."""

import json
import logging
import sys
from contextlib import suppress
from typing import Any, BinaryIO

import structlog

from gifchat_chassis.client_address import network_of


class _BestEffortStream:
    """A stream for log lines. Drops a line that it cannot write (a full disk, a closed pipe), as `logging` does."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, line: bytes) -> None:
        with suppress(OSError, ValueError):
            self._file.write(line)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._file.flush()


# structlog's own renderer creates an encoder for each line.
_encoder = json.JSONEncoder(ensure_ascii=False, default=repr)


def _to_json(_logger: object, _method: str, event: Any) -> str:
    return _encoder.encode(event)


def _encode(_logger: object, _method: str, line: Any) -> bytes:
    return str(line).encode(errors="backslashreplace")


def _shorten_address(_logger: object, _method: str, event: Any) -> Any:
    return {**event, "address": network_of(str(event["address"]))} if "address" in event else event


def configure_logs(level: str, log_format: str, node_name: str, addresses: str = "full") -> None:
    """Send all logs to stdout, as JSON or as readable text. Callers must not log a URL with its query.

    Callers log a client's address only as `address`, because `addresses="network"` shortens only that field.
    """
    shared: list[Any] = [
        *([_shorten_address] if addresses == "network" else []),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        lambda _logger, _method, event: {**event, "node": node_name},
    ]
    last: list[Any] = (
        [structlog.processors.format_exc_info, _to_json]
        if log_format == "json"
        else [
            # A plain traceback does not show the values of variables, some of which are secrets.
            structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    # Our own lines bypass `logging`, which costs four times as much. Some lines are logged for every connection.
    structlog.configure(
        processors=[*shared, *last, _encode],
        logger_factory=structlog.BytesLoggerFactory(_BestEffortStream(sys.stdout.buffer)),  # type: ignore[arg-type]
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
