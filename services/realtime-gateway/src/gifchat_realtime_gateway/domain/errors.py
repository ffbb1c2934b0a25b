"""The one way to say no."""

from gifchat_contracts.errors import ErrorCode


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """What was asked is refused, with a code that says what to do next."""

    def __init__(self, code: ErrorCode, retry_after_s: float | None = None, detail: str | None = None) -> None:
        """`detail` is for the developer of the client, in English; people are shown the code's text."""
        super().__init__(code.code)
        self.code = code
        self.retry_after_s = retry_after_s
        self.detail = detail
