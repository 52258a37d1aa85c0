"""PostgreSQL's binary COPY, to and from Arrow and numpy, whole columns at a time: no Python object per row.

Text columns of a CSV are parsed by the server, which costs it as much as storing them; this format is not.
Format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

import os
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
# Days and microseconds from 1970 to PostgreSQL's own beginning, 2000-01-01.
_EPOCH_DAYS = 10_957
_EPOCH_US = _EPOCH_DAYS * 86_400_000_000
UUID = pa.binary(16)
# Groups of digits in the text of an UUID: from, to, and how many dashes stand before.
_GROUPS = ((0, 8, 0), (8, 12, 1), (12, 16, 2), (16, 20, 3), (20, 32, 4))


def postgres_type(kind: pa.DataType) -> str:
    """The PostgreSQL type that this module sends an Arrow type as. Raises TypeError where there is none."""
    if kind == UUID:
        return "uuid"
    if pa.types.is_dictionary(kind):
        return postgres_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    names = {
        pa.bool_(): "boolean", pa.int16(): "smallint", pa.int32(): "integer", pa.int64(): "bigint",
        pa.float64(): "double precision", pa.date32(): "date", pa.string(): "text", pa.large_string(): "text",
        pa.binary(): "bytea", pa.null(): "text",
    }  # fmt: skip
    if kind not in names:
        raise TypeError(f"no binary COPY for {kind}")
    return names[kind]


def is_supported(schema: pa.Schema) -> bool:
    """Whether all columns of a schema have a type that this module sends."""
    try:
        for field in schema:
            postgres_type(field.type)
    except TypeError:
        return False
    return True


def _fixed(column: pa.Array) -> np.ndarray | None:
    """The values of a column of fixed width in network order; nulls hold anything. None when it has no fixed width."""
    kind = column.type
    if kind == UUID:
        return np.frombuffer(column.buffers()[1], dtype="V16")[column.offset : column.offset + len(column)]
    if pa.types.is_boolean(kind):
        return column.cast(pa.uint8()).fill_null(0).to_numpy().astype("u1")
    if pa.types.is_floating(kind):
        return column.fill_null(0.0).to_numpy(zero_copy_only=False).astype(">f8")
    if pa.types.is_date(kind):
        return (column.cast(pa.int32()).fill_null(_EPOCH_DAYS).to_numpy() - _EPOCH_DAYS).astype(">i4")
    if pa.types.is_timestamp(kind):
        micros = column.cast(pa.timestamp("us", kind.tz)).cast(pa.int64())
        return (micros.fill_null(_EPOCH_US).to_numpy() - _EPOCH_US).astype(">i8")
    if pa.types.is_integer(kind):
        return column.fill_null(0).to_numpy().astype(f">i{kind.bit_width // 8}")
    return None


def _binary(data: np.ndarray, offsets: np.ndarray) -> pa.Array:
    return pa.Array.from_buffers(
        pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets.astype("<i4")), pa.py_buffer(data)]
    )


class _Pieces:
    """The parts of every row's bytes from left to right; neighbours of fixed width become one."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.done: list[pa.Array] = []
        self.fixed: list[tuple[str, np.ndarray | int]] = []

    def add_fixed(self, kind: str, values: np.ndarray | int) -> None:
        self.fixed.append((kind, values))

    def add(self, piece: pa.Array) -> None:
        self.flush()
        self.done.append(piece)

    def flush(self) -> None:
        if not self.fixed:
            return
        record = np.empty(self.count, dtype=[(f"f{n}", kind) for n, (kind, _) in enumerate(self.fixed)])
        for n, (_, values) in enumerate(self.fixed):
            record[f"f{n}"] = values
        width = record.dtype.itemsize
        self.done.append(_binary(record.view("u1"), np.arange(0, (self.count + 1) * width, width)))
        self.fixed = []

    def add_nullable(self, values: np.ndarray, is_valid: np.ndarray) -> None:
        """A column of fixed width in which some rows are null: these have a length of -1 and no value."""
        width = 4 + values.dtype.itemsize
        record = np.empty(self.count, dtype=[("size", ">i4"), ("value", values.dtype)])
        record["size"] = np.where(is_valid, values.dtype.itemsize, -1)
        record["value"] = values
        kept = np.ones((self.count, width), dtype=bool)
        kept[~is_valid, 4:] = False
        offsets = np.zeros(self.count + 1, dtype="i8")
        np.cumsum(np.where(is_valid, width, 4), out=offsets[1:])
        self.add(_binary(record.view("u1").reshape(self.count, width)[kept], offsets))


def row_bytes(rows: pa.Table) -> pa.Array:
    """Each row as the bytes it has in a binary COPY: number of columns, then length and value of each. Two rows have
    the same bytes if and only if all their values are the same."""
    count = rows.num_rows
    pieces = _Pieces(count)
    pieces.add_fixed(">i2", rows.num_columns)
    for column in rows.columns:
        values = _whole(column)
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        postgres_type(values.type)
        if values.null_count == count:
            pieces.add_fixed(">i4", -1)
            continue
        fixed = _fixed(values)
        if fixed is None:
            has_nulls = values.null_count > 0
            size = pc.binary_length(values)
            pieces.add_fixed(">i4", (size.fill_null(-1) if has_nulls else size).to_numpy())
            data = values if values.type == pa.binary() else values.cast(pa.binary())
            pieces.add(data.fill_null(b"") if has_nulls else data)
        elif values.null_count:
            pieces.add_nullable(fixed, values.is_valid().to_numpy(zero_copy_only=False))
        else:
            pieces.add_fixed(">i4", fixed.dtype.itemsize)
            pieces.add_fixed(fixed.dtype.str, fixed)
    pieces.flush()
    if len(pieces.done) == 1:
        return pieces.done[0]
    return pc.binary_join_element_wise(*pieces.done, b"")


def bytes_of(encoded: pa.Array) -> tuple[memoryview, np.ndarray]:
    """All bytes of an array of bytes one after the other, and where each begins (one more: where the last ends)."""
    offsets = np.frombuffer(encoded.buffers()[1], dtype="<i4")[encoded.offset : encoded.offset + len(encoded) + 1]
    data = encoded.buffers()[2]
    if data is None:
        return memoryview(b""), offsets
    return memoryview(data)[int(offsets[0]) : int(offsets[-1])], offsets - offsets[0]


def stream(rows: pa.Table) -> list[bytes | memoryview]:
    """A table as the parts of one binary COPY."""
    return [_SIGNATURE, bytes_of(row_bytes(rows))[0], _TRAILER]


def records(data: bytes, columns: Sequence[tuple[str, str]]) -> np.ndarray:
    """The rows of a binary COPY whose columns are all of fixed width and never null.

    Args: columns, name and numpy type in network order, such as ("place", ">i4") or ("account_id", "V16").
    Returns: an array with these fields. Raises ValueError when the bytes have another shape.
    """
    fields: list[tuple[str, str]] = [("column_count", ">i2")]
    for name, kind in columns:
        fields += [(f"size_of_{name}", ">i4"), (name, kind)]
    body = data[len(_SIGNATURE) : -len(_TRAILER)]
    row = np.dtype(fields)
    if len(body) % row.itemsize:
        raise ValueError("the rows do not have the width of these columns")
    found = np.frombuffer(body, dtype=row)
    for name, wanted in columns:
        if (found[f"size_of_{name}"] != np.dtype(wanted).itemsize).any():
            raise ValueError(f"column {name} is null somewhere, or not {wanted}")
    return found


def new_ids(count: int) -> np.ndarray:
    """UUIDs of version 7 in ascending order, as kit.ids makes them one at a time; an array of V16."""
    if count > 1 << 24:
        raise ValueError("more ids at once than the counter counts")
    raw = np.frombuffer(os.urandom(16 * count), dtype="u1").reshape(count, 16).copy()
    # Within the millisecond, the 24 bits after it count up (RFC 9562, 6.2, method 1), so that what is written next
    # stands next to it in every index; 50 bits of chance follow.
    place = np.arange(count, dtype=">u4").view("u1").reshape(count, 4)
    millis = (time.time_ns() // 1_000_000) & (1 << 48) - 1
    raw[:, :6] = np.frombuffer(millis.to_bytes(6, "big"), dtype="u1")
    raw[:, 6] = 0x70 | place[:, 1] >> 4
    raw[:, 7] = place[:, 1] << 4 | place[:, 2] >> 4
    raw[:, 8] = 0x80 | (place[:, 2] & 0x0F) << 2 | place[:, 3] >> 6
    raw[:, 9] = place[:, 3] << 2 | raw[:, 9] & 0x03
    return raw.reshape(-1).view("V16")


def uuids(values: np.ndarray) -> pa.Array:
    """UUIDs (V16) as a column that row_bytes sends as uuid."""
    return pa.Array.from_buffers(UUID, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def uuid_values(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The UUIDs (V16) of a column made by uuids; none may be null."""
    array = _whole(column)
    return np.frombuffer(array.buffers()[1], dtype="V16")[array.offset : array.offset + len(array)]


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def uuid_texts(values: np.ndarray) -> pa.Array:
    """UUIDs (V16) as texts."""
    count = len(values)
    digits = np.frombuffer(np.ascontiguousarray(values).tobytes().hex().encode(), dtype="u1").reshape(count, 32)
    characters = np.full((count, 36), ord("-"), dtype="u1")
    for start, end, dashes in _GROUPS:
        characters[:, start + dashes : end + dashes] = digits[:, start:end]
    offsets = np.arange(0, 36 * (count + 1), 36, dtype="<i4")
    return pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(characters)])
