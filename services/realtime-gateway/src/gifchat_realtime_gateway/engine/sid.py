"""Engine.IO session ids (`sid`): random, and on a node with peers prefixed with the node's tag.

The tag tells every node which node holds the session. The tag is a digest of the node id, which is new at each
start. It therefore reveals no address, and a restarted node gets a new tag.
"""

import base64
import hashlib
import os
from typing import Final

TAG_CHARS: Final = 8
_TAG_BYTES: Final = 6
_RANDOM_BYTES: Final = 15
"""A multiple of three, so that base64 needs no padding."""
_RANDOM_CHARS: Final = 20
_SIDS_PER_BATCH: Final = 256
"""Sids generated with each system call."""
_pool: list[str] = []


def new_sid(tag: str = "") -> str:
    """Return `tag` followed by 120 random bits.

    It must be unguessable: anybody who knows the sid of a guest controls the guest's connection.
    """
    if not _pool:
        random = base64.urlsafe_b64encode(os.urandom(_RANDOM_BYTES * _SIDS_PER_BATCH)).decode()
        _pool.extend(random[at : at + _RANDOM_CHARS] for at in range(0, len(random), _RANDOM_CHARS))
    return tag + _pool.pop()


def node_tag(node_id: str) -> str:
    """Return the tag of a node: 48 bits of SHA-256, as 8 URL-safe characters."""
    return base64.urlsafe_b64encode(hashlib.sha256(node_id.encode()).digest()[:_TAG_BYTES]).decode()


def tag_of(sid: str) -> str | None:
    """Return the tag that a sid starts with; None if it has none."""
    return sid[:TAG_CHARS] if len(sid) == TAG_CHARS + _RANDOM_CHARS else None
