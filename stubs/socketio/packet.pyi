from typing import Any, overload

def __getattr__(name: str) -> Any: ...

class Packet:
    packet_type: int
    data: Any
    namespace: str | None
    id: int | None
    attachments: list[bytes]
    attachment_count: int

    @overload
    def __init__(self, packet_type: int, data: Any, namespace: str | None = None, id: int | None = None) -> None: ...
    @overload
    def __init__(self, *, encoded_packet: str | bytes) -> None: ...
    def encode(self) -> str | list[str | bytes]: ...
    def add_attachment(self, attachment: bytes) -> bool: ...
