"""permessage-deflate (RFC 7692) without context takeover. No I/O.

A broadcast is compressed once for all its readers, so it cannot depend on what one of them received before. The server
therefore keeps no context and asks clients to keep none. That also saves two windows of memory per connection.
Section numbers in parentheses are RFC 7692's.
"""

import re
import zlib
from collections.abc import Iterator
from typing import Final

_EXTENSION: Final = "permessage-deflate"
_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
_SERVER_WINDOW: Final = "server_max_window_bits"
_CLIENT_WINDOW: Final = "client_max_window_bits"
_WINDOW_BITS: Final = 15
_SYNC_TAIL: Final = b"\x00\x00\xff\xff"
"""The end of a sync flush. Senders remove it (7.2.1), and receivers append it again (7.2.2)."""
_QUOTED_NUMBER: Final = re.compile(r'="([0-9]+)"')
_FINAL_TAIL: Final = b"\x00" + _SYNC_TAIL
"""The bytes left over after a message whose last block is marked final. Such blocks are allowed (7.2.3.4)."""


class InvalidDeflateError(ValueError):
    """The payload is not a valid compressed message."""


class TooLargeError(ValueError):
    """The decompressed message exceeds the limit."""


def negotiate(offers: str, user_agent: str = "") -> str | None:
    """Return the answer to `Sec-WebSocket-Extensions` (5.1, 7.1); None if no offer is acceptable.

    All clients get the same bytes, so an offer that asks the server for a smaller window is declined. WebKit's offers
    (Safari, and every browser on iOS) are declined too: WebKit kept its context after agreeing not to.
    """
    offers = _QUOTED_NUMBER.sub(r"=\1", offers)
    if '"' in offers or ("AppleWebKit/" in user_agent and "Chrome/" not in user_agent):
        return None
    for offer in offers.split(","):
        name, *rest = (part.strip() for part in offer.split(";"))
        if name != _EXTENSION:
            continue
        parameters = dict(_parameters(rest))
        if len(parameters) == len(rest) and all(_is_valid(key, value) for key, value in parameters.items()):
            window = [f"{_SERVER_WINDOW}={_WINDOW_BITS}"] if _SERVER_WINDOW in parameters else []
            return "; ".join((_EXTENSION, *_FLAGS, *window))
    return None


def _parameters(parts: list[str]) -> Iterator[tuple[str, str | None]]:
    for part in parts:
        key, equals, value = part.partition("=")
        yield key.strip(), value.strip() if equals else None


def _is_valid(key: str, value: str | None) -> bool:
    if key in _FLAGS:
        return value is None
    if key == _SERVER_WINDOW:
        return value == str(_WINDOW_BITS)
    return key == _CLIENT_WINDOW and (value is None or value in map(str, range(8, _WINDOW_BITS + 1)))


def deflate(payload: bytes) -> bytes:
    """Compress the payload of one message (7.2.1)."""
    compressor = zlib.compressobj(wbits=-_WINDOW_BITS)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_SYNC_TAIL)


def inflate(payload: bytes, max_bytes: int) -> bytes:
    """Decompress the payload of one message (7.2.2). Never allocates more than `max_bytes` + 1 for the result.

    Raises:
        InvalidDeflateError: the payload is not a valid compressed message.
        TooLargeError: the message is longer than `max_bytes`.
    """
    decompressor = zlib.decompressobj(wbits=-_WINDOW_BITS)
    try:
        data = decompressor.decompress(payload + _SYNC_TAIL, max_bytes + 1)
    except zlib.error as error:
        raise InvalidDeflateError(str(error)) from error
    if len(data) > max_bytes:
        raise TooLargeError
    if decompressor.unconsumed_tail or (decompressor.eof and decompressor.unused_data not in (_SYNC_TAIL, _FINAL_TAIL)):
        raise InvalidDeflateError("data after the end of the stream")
    return data
