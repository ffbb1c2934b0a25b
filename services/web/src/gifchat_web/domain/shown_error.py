"""The `error` in the URL of the list of rooms: it names a code of the table, and never holds free text.

The original put a sentence there. Its three sentences are still read and written, because its links contain them.
"""

from gifchat_contracts import errors
from gifchat_contracts.errors import ErrorCode

_ORIGINAL = {
    errors.ROOM_NOT_FOUND: "존재하지 않는 방입니다.",
    errors.WRONG_PASSWORD: "비밀번호가 틀렸습니다.",
    errors.ROOM_FULL: "허용 인원을 초과했습니다.",
}
_BY_VALUE = errors.TABLE | {sentence: code for code, sentence in _ORIGINAL.items()}


def error_value(code: ErrorCode) -> str:
    """Return the value for a URL: the original's sentence, or the code if the original had none."""
    return _ORIGINAL.get(code, code.code)


def error_of(value: str) -> ErrorCode | None:
    """Return the code that a value from a URL names; None for anything else."""
    return _BY_VALUE.get(value)
