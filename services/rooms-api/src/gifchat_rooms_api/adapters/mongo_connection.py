"""What all MongoDB adapters share: client, read and write concerns, deadlines, times, and error mapping."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pymongo
from pymongo import AsyncMongoClient, WriteConcern
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import InvalidOperation, PyMongoError, ServerSelectionTimeoutError, WaitQueueTimeoutError
from pymongo.read_concern import ReadConcern

from gifchat_rooms_api.ports import OutcomeUnknownError, StoreClosedError, StoreUnavailableError

Document = dict[str, Any]


def mongo_client(url: str) -> AsyncMongoClient[Document]:
    """Build a client. It connects on first use."""
    return AsyncMongoClient(
        url,
        connect=False,
        tz_aware=True,
        appname="rooms-api",
        serverSelectionTimeoutMS=2_000,
        connectTimeoutMS=2_000,
    )


def majority_database(client: AsyncMongoClient[Document], name: str) -> AsyncDatabase[Document]:
    """Return the database with majority reads, and with writes journaled on a majority."""
    return client.get_database(
        name, read_concern=ReadConcern("majority"), write_concern=WriteConcern(w="majority", j=True)
    )


@contextmanager
def repeatable(timeout_s: float) -> Iterator[None]:
    """Run operations that are safe to repeat: reads, and idempotent writes.

    Raises:
        StoreClosedError: this process has closed the client.
        StoreUnavailableError: an operation failed, or did not finish within `timeout_s`.
    """
    try:
        with _deadline(timeout_s):
            yield
    except PyMongoError as error:
        raise StoreUnavailableError(str(error)) from error


@contextmanager
def unrepeatable(timeout_s: float) -> Iterator[None]:
    """Run writes whose caller must know whether they happened.

    Raises:
        StoreClosedError: this process has closed the client.
        StoreUnavailableError: nothing was sent.
        OutcomeUnknownError: a write was sent and not confirmed.
    """
    try:
        with _deadline(timeout_s):
            yield
    except (ServerSelectionTimeoutError, WaitQueueTimeoutError) as error:
        raise StoreUnavailableError(str(error)) from error
    except PyMongoError as error:
        raise OutcomeUnknownError(str(error)) from error


@contextmanager
def _deadline(timeout_s: float) -> Iterator[None]:
    try:
        with pymongo.timeout(timeout_s):
            yield
    except InvalidOperation as error:
        raise StoreClosedError(str(error)) from error


def utc(moment: datetime) -> datetime:
    """Return a time from MongoDB as an aware datetime. PyMongo returns naive UTC unless the client is `tz_aware`."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
