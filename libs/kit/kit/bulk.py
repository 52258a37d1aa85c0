"""Bulk rows: Arrow in memory, COPY at the database, never a Python object per row."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv
from psycopg import sql as psycopg_sql
from sqlalchemy import Executable, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.orm import Session

from kit import pgcopy
from kit.db import driver_connection

_DIALECT = PGDialect_psycopg()
BATCH_ROWS = 50_000

# PostgreSQL type by oid to Arrow; anything else comes out as text.
_ARROW_BY_OID = {
    16: pa.bool_(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    700: pa.float32(),
    701: pa.float64(),
    1082: pa.date32(),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", "UTC"),
    1700: pa.decimal128(38, 10),
}


def _rendered(query: str | Executable, params: Mapping[str, Any] | None) -> tuple[str, dict[str, Any]]:
    statement = text(query) if isinstance(query, str) else query
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})  # type: ignore[attr-defined]
    values = {key: value for key, value in compiled.params.items() if key not in (params or {})}
    return str(compiled), {**values, **(params or {})}


def copy_out_arrow(
    session: Session,
    query: str | Executable,
    params: Mapping[str, Any] | None = None,
    types: Mapping[str, pa.DataType] | None = None,
) -> pa.Table:
    """The rows of a query (":name" parameters, or a SQLAlchemy select) as an Arrow table.

    types: Arrow type by column where the default does not fit (numeric gives decimal128(38, 10); uuid, json, arrays
    and everything unknown give text).
    """
    session.flush()
    statement, values = _rendered(query, params)
    connection = driver_connection(session)
    with psycopg.ClientCursor(connection) as cursor:
        # The shape costs one planning, no row; CSV alone would leave the types to be guessed.
        cursor.execute(f"SELECT * FROM ({statement}) AS shape LIMIT 0", values)  # type: ignore[arg-type]
        columns = {column.name: _ARROW_BY_OID.get(column.type_code, pa.string()) for column in cursor.description or ()}
        columns |= dict(types or {})
        buffer = io.BytesIO()
        with cursor.copy(f"COPY ({statement}) TO STDOUT WITH (FORMAT csv)", values) as copy:  # type: ignore[arg-type]
            for block in copy:
                buffer.write(block)
    schema = pa.schema(list(columns.items()))
    if not buffer.tell():
        return schema.empty_table()
    buffer.seek(0)
    return pa_csv.read_csv(
        buffer,
        read_options=pa_csv.ReadOptions(column_names=list(columns)),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=schema,
            null_values=[""],
            true_values=["t"],
            false_values=["f"],
            # An empty text is quoted by COPY and a NULL is not: that is how they stay apart.
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def copy_in_arrow(session: Session, table: str, rows: pa.Table) -> int:
    """Inserts all rows into a table by the names of their columns; returns how many.

    COPY refuses tables behind row security, so these are filled from a temporary table by one INSERT ... SELECT.
    """
    session.flush()
    if rows.num_rows == 0:
        return 0
    is_secured = session.execute(
        text("SELECT row_security_active(CAST(:table AS regclass))"), {"table": table}
    ).scalar()
    if not is_secured:
        _copy(session, table, rows)
        return rows.num_rows
    staging = f"kit_copy_{table.replace('.', '_')}"
    columns = ", ".join(f'"{name}"' for name in rows.column_names)
    session.execute(text(f"CREATE TEMP TABLE {staging} ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA"))
    _copy(session, staging, rows)
    session.execute(text(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {staging}"))
    session.execute(text(f"DROP TABLE {staging}"))
    return rows.num_rows


def stage(session: Session, name: str, rows: pa.Table, analyzed: str | None = "") -> None:
    """Puts rows into a new temporary table that ends with the transaction, for set-based merging; columns get the
    PostgreSQL type of their Arrow type (text for what has none).

    analyzed: columns the planner shall know ("a, b"; empty for all); None where no plan depends on any.
    """
    columns = ", ".join(f'"{field.name}" {_postgres_type(field.type)}' for field in rows.schema)
    session.execute(text(f"DROP TABLE IF EXISTS pg_temp.{name}"))
    session.execute(text(f"CREATE TEMP TABLE {name} ({columns}) ON COMMIT DROP"))
    if rows.num_rows:
        copy_in_binary(session, f"pg_temp.{name}", rows)
    if analyzed is not None:
        session.execute(text(f"ANALYZE {name} ({analyzed})" if analyzed else f"ANALYZE {name}"))


def copy_in_binary(session: Session, table: str, rows: pa.Table) -> None:
    """Inserts rows into a table without row security whose columns have exactly the types of pgcopy.postgres_type."""
    if not pgcopy.is_supported(rows.schema):
        _copy(session, table, rows)
        return
    with (
        driver_connection(session).cursor() as cursor,
        cursor.copy(_copy_statement(table, rows, "binary")) as copy,
    ):
        for part in pgcopy.stream(rows):
            copy.write(part)


def copy_out_records(
    session: Session, query: str, params: Mapping[str, Any], columns: Sequence[tuple[str, str]]
) -> np.ndarray:
    """The rows of a query whose columns are all of fixed width and never null (see pgcopy.records)."""
    statement, values = _rendered(query, params)
    buffer = io.BytesIO()
    with (
        psycopg.ClientCursor(driver_connection(session)) as cursor,
        cursor.copy(f"COPY ({statement}) TO STDOUT WITH (FORMAT binary)", values) as copy,  # type: ignore[arg-type]
    ):
        for block in copy:
            buffer.write(block)
    return pgcopy.records(buffer.getvalue(), columns)


def _postgres_type(kind: pa.DataType) -> str:
    if pgcopy.is_supported(pa.schema([("x", kind)])):
        return pgcopy.postgres_type(kind)
    if pa.types.is_integer(kind):
        return "bigint" if kind.bit_width > 32 else "integer"
    if pa.types.is_floating(kind):
        return "double precision"
    if pa.types.is_decimal(kind):
        return "numeric"
    if pa.types.is_date(kind):
        return "date"
    return "text"


def _copy_statement(table: str, rows: pa.Table, how: str) -> psycopg_sql.Composed:
    return psycopg_sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT {})").format(
        psycopg_sql.Identifier(*table.split(".")),
        psycopg_sql.SQL(", ").join(psycopg_sql.Identifier(name) for name in rows.column_names),
        psycopg_sql.SQL(how),
    )


def _copy(session: Session, table: str, rows: pa.Table) -> None:
    flat = rows
    for index, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            flat = flat.set_column(index, field.name, flat.column(index).cast(field.type.value_type))
    statement = _copy_statement(table, flat, "csv")
    options = pa_csv.WriteOptions(include_header=False, quoting_style="all_valid")
    with driver_connection(session).cursor() as cursor, cursor.copy(statement) as copy:
        for batch in flat.to_batches(BATCH_ROWS):
            buffer = io.BytesIO()
            pa_csv.write_csv(batch, buffer, options)
            copy.write(buffer.getvalue())


def to_ipc(table: pa.Table) -> bytes:
    """An Arrow IPC stream (zstd), as it travels in an event or an RPC."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_ipc(data: bytes) -> pa.Table:
    """The table of an Arrow IPC stream. Raises ValueError when the bytes are none."""
    try:
        with pa.ipc.open_stream(data) as reader:
            return reader.read_all()
    except pa.ArrowException as error:
        raise ValueError(f"no Arrow stream: {error}") from error
