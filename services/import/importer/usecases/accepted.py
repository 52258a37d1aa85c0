"""The accepted rows as they travel: encoded once, when a file is read, and sent from the file store by plan and load
alike, so that neither holds more than one chunk."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from importer import domain
from importer.store import BatchRow
from importer.usecases.state import work_key
from kit import bulk, files

CHUNK_LIMIT_BYTES = 3 * 1024 * 1024
SPOOL_BYTES = 1024 * 1024
FILE = "chunks.arrow"


def keep_accepted(settings: Any, row: BatchRow, object_: str, tables: Iterable[pa.Table]) -> list[list[int]]:
    """Keeps accepted rows, given in parts sorted by account, as one Arrow stream after the other.

    Returns: first and last row (exclusive), first and last byte (exclusive) of each chunk. Chunks are of whole accounts
    and fit a message; only an account too large for one is cut.
    """
    bounds: list[list[int]] = []
    rows = size = 0
    key, wanted = domain.SORT_KEY[object_], settings.chunk_rows
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as file:
        for chunk in _of_whole_accounts(tables, key, wanted):
            for count, data in _encoded(chunk, key):
                file.write(data)
                bounds.append([rows, rows + count, size, size + len(data)])
                rows, size = rows + count, size + len(data)
        file.seek(0)
        files.store(settings).put(work_key(row, FILE), cast(Any, file))
    return bounds


def chunk_of(settings: Any, row: BatchRow, number: int) -> bytes:
    """A chunk as the ledger takes it."""
    _, _, start, end = row.chunk_bounds[number]
    with contextlib.closing(files.store(settings).get(work_key(row, FILE), start, end - start)) as stream:
        return bytes(stream.read())


def parts_of(path: Path) -> Iterator[pa.Table]:
    """The rows of an Arrow file, batch by batch; read, not mapped, so that memory is given back."""
    with pa.OSFile(str(path)) as source:
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(number)])


def _of_whole_accounts(tables: Iterable[pa.Table], key: str, rows_wanted: int) -> Iterator[pa.Table]:
    pending: pa.Table | None = None
    for table in tables:
        pending = table if pending is None or not pending.num_rows else pa.concat_tables([pending, table])
        # The last account may go on in the next part.
        *whole, last = domain.chunk_bounds(pending, key, rows_wanted) or [(0, 0)]
        for start, end in whole:
            yield pending.slice(start, end - start)
        # A copy, so that what has been sent is not kept for the sake of the rest.
        pending = pending.slice(last[0]).combine_chunks()
    if pending is not None and pending.num_rows:
        yield pending


def _encoded(chunk: pa.Table, key: str) -> Iterator[tuple[int, bytes]]:
    """Number of rows and Arrow stream; more than one where a message would be too large."""
    data = bulk.to_ipc(chunk.combine_chunks())
    if len(data) <= CHUNK_LIMIT_BYTES or chunk.num_rows == 1:
        yield chunk.num_rows, data
        return
    middle = chunk.num_rows // 2
    accounts = domain.chunk_bounds(chunk, key, middle)
    for start, end in accounts if len(accounts) > 1 else [(0, middle), (middle, chunk.num_rows)]:
        yield from _encoded(chunk.slice(start, end - start), key)
