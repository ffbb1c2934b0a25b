"""permessage-deflate (RFC 7692) without memory from one message to the next, as values. No I/O.

A broadcast is compressed once for all its readers, so nothing can depend on what one of them was sent before: the
server never keeps its context, and asks clients not to keep theirs, which saves both a window for each connection.
"""

import re
import zlib
from collections.abc import Iterator
from typing import Final

_NAME: Final = "permessage-deflate"
_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
_SERVER_WINDOW: Final = "server_max_window_bits"
_CLIENT_WINDOW: Final = "client_max_window_bits"
_WINDOW_BITS: Final = 15
_TAIL: Final = b"\x00\x00\xff\xff"
"""What a sync flush ends with; it is not sent (7.2.1)."""
_QUOTED_NUMBER: Final = re.compile(r'="([0-9]+)"')
_AFTER_FINAL: Final = b"\x00" + _TAIL
"""What remains where a client has ended the whole stream, which it may (7.2.3.4)."""


class NotDeflatedError(ValueError):
    """These bytes are no compressed message."""


class TooLargeError(ValueError):
    """There is more in it than a message may have."""


def negotiate(offers: str, user_agent: str = "") -> str | None:
    """The answer to `Sec-WebSocket-Extensions` (5.1, 7.1); None where no offer can be taken.

    Everybody is sent the same bytes, so an offer that wants a smaller window of the server is declined. So are those of
    WebKit (Safari, everything on iOS): it has been seen to keep its context where it agreed not to.
    """
    offers = _QUOTED_NUMBER.sub(r"=\1", offers)
    if '"' in offers or ("AppleWebKit/" in user_agent and "Chrome/" not in user_agent):
        return None
    for offer in offers.split(","):
        name, *rest = (part.strip() for part in offer.split(";"))
        if name != _NAME:
            continue
        parameters = dict(_parameters(rest))
        if len(parameters) == len(rest) and all(_right(key, value) for key, value in parameters.items()):
            window = [f"{_SERVER_WINDOW}={_WINDOW_BITS}"] if _SERVER_WINDOW in parameters else []
            return "; ".join((_NAME, *_FLAGS, *window))
    return None


def _parameters(parts: list[str]) -> Iterator[tuple[str, str | None]]:
    for part in parts:
        key, equals, value = part.partition("=")
        yield key.strip(), value.strip() if equals else None


def _right(key: str, value: str | None) -> bool:
    if key in _FLAGS:
        return value is None
    if key == _SERVER_WINDOW:
        return value == str(_WINDOW_BITS)
    return key == _CLIENT_WINDOW and (value is None or value in map(str, range(8, _WINDOW_BITS + 1)))


def deflate(payload: bytes) -> bytes:
    """A message's payload, compressed on its own (7.2.1)."""
    compressor = zlib.compressobj(wbits=-_WINDOW_BITS)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)


def inflate(payload: bytes, max_bytes: int) -> bytes:
    """What `deflate` was given (7.2.2); no more than `max_bytes` and one are ever made of it.

    Raises:
        NotDeflatedError: it is no compressed message.
        TooLargeError: it would be longer than `max_bytes`.
    """
    decompressor = zlib.decompressobj(wbits=-_WINDOW_BITS)
    try:
        data = decompressor.decompress(payload + _TAIL, max_bytes + 1)
    except zlib.error as error:
        raise NotDeflatedError(str(error)) from error
    if len(data) > max_bytes:
        raise TooLargeError
    if decompressor.unconsumed_tail or (decompressor.eof and decompressor.unused_data not in (_TAIL, _AFTER_FINAL)):
        raise NotDeflatedError("more than one stream")
    return data
