"""The same analysis for a file of any size in a memory that does not grow with it.

Three passes: the file is parsed batch by batch onto disk; all batches together say what the formats are; then the rows,
parted by ranges of accounts, are read part by part with those formats. The result is that of `analyse`: accepted rows
sorted by account, in an Arrow file. What needs the whole file at once (other formats and objects, external identifiers,
open questions about columns) is left to `analyse`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importer.domain import fields as known
from importer.domain.analysis import chosen_columns, examine, file_warnings
from importer.domain.columns import AMOUNT_FIELDS, DATE_FIELDS, WARNED_LINES, Decisions
from importer.domain.fields import ITEMS
from importer.domain.mapping import SAMPLE, Content, contents_of
from importer.domain.model import ITEM_SCHEMA, PREVIEW_ROWS, Analysis, Total, Wanted
from importer.domain.reading.stream import batches
from importer.domain.reading.table import RawTable
from importer.domain.values import (
    AmountColumn,
    all_dotted,
    day_texts,
    decide_sign,
    header_key,
    lengths,
    profile_amounts,
    profile_dates,
    trimmed,
)

PART_ROWS = 40_000
_IDENTIFIERS = ("accountNumber", "itemNumber", "lineNumber", "invoiceReference", "fiscalYear")


class LargeFile:
    """A large list, parsed once onto disk. `raw` is its first part with the counts of all: for headers and reports."""

    def __init__(self, path: Path, folder: Path, parts: Iterator[RawTable]) -> None:
        self._rows_file, self.folder = folder / "rows.arrow", folder
        self.raw: RawTable | None = None
        self.rows = 0
        sampled: list[pa.Table] = []
        filled = np.zeros(0, dtype=np.int64)
        writer = None
        size_left = path.stat().st_size
        for part in parts:
            if self.raw is None:
                self.raw = replace(
                    part, table=part.table.slice(0, PREVIEW_ROWS), lines=part.lines.slice(0, PREVIEW_ROWS)
                )
                filled = np.zeros(len(part.headers), dtype=np.int64)
                step = max(1, int(part.table.num_rows * (size_left / max(part.table.nbytes, 1)) / SAMPLE))
            else:
                self.raw.broken += part.broken
                for kind, count in part.skipped.items():
                    self.raw.skipped[kind] = self.raw.skipped.get(kind, 0) + count
            table = part.table.append_column("line", part.lines)
            if writer is None:
                writer = pa.ipc.new_file(str(self._rows_file), table.schema)
            writer.write_table(table)
            sampled.append(part.table.take(pa.array(range(0, part.table.num_rows, step), pa.int64())))
            filled += [
                sum(int(np.count_nonzero(lengths(chunk))) for chunk in column.chunks) for column in part.table.columns
            ]
            self.rows += part.table.num_rows
        if writer is not None:
            writer.close()
        self.sample = pa.concat_tables(sampled) if sampled else None
        self.filled = filled

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as they were parsed, with their `line`; read, not mapped, so that memory is given back."""
        with pa.OSFile(str(self._rows_file)) as source:
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)


def open_large(path: Path, folder: Path) -> LargeFile | None:
    """Parses a large delimited file into `folder`; None when it has to be read whole. Raises: Unreadable."""
    parts = batches(path)
    if parts is None:
        return None
    file = LargeFile(path, folder, parts)
    unnamed = [] if file.raw is None else [at for at, name in enumerate(file.raw.headers) if not name]
    if not file.rows or any(not file.filled[at] for at in unnamed):
        return None
    return file


def analyse_large(file: LargeFile, wanted: Wanted) -> tuple[Analysis, Path] | None:
    """The analysis and the Arrow file (ITEM_SCHEMA, sorted by account) of the accepted rows; its own `accepted` is None.

    None: the file has to be analysed whole, because it holds something else than items, needs an answer, or names its
    items by external identifiers.
    """
    raw = file.raw
    assert raw is not None and file.sample is not None
    found = contents_of(file.sample)
    kind, columns = chosen_columns(raw, found, wanted)
    position = {column.field: column.position for column in columns if column.field}
    if kind != ITEMS or "externalId" in position or "accountNumber" not in position:
        return None
    account = position["accountNumber"]
    decisions = _decide(file, found, position)
    if decisions.dotted[account]:
        return None  # "10" and "10.0" are one account, and would lie in two parts.
    head = examine(raw, kind, columns, wanted, found, [], decisions)
    if head.questions:
        return None
    result = file.folder / "accepted.arrow"
    rejects: list[pa.Table] = []
    found_warnings: list[tuple[str, dict[str, str]]] = []
    totals: dict[str, Total] = {}
    accepted = rejected = 0
    broken = raw.broken
    with pa.ipc.new_file(str(result), ITEM_SCHEMA) as writer:
        for table in _parted(file, account):
            part = replace(raw, table=table.drop_columns(["line"]), lines=table["line"].combine_chunks(), broken=broken)
            broken = []
            analysis = examine(part, kind, columns, wanted, found, found_warnings, decisions)
            if analysis.questions or analysis.accepted is None:
                return None
            writer.write_table(analysis.accepted, max_chunksize=65_536)
            accepted, rejected = accepted + analysis.accepted.num_rows, rejected + analysis.rejected
            rejects.append(analysis.rejects)
            for total in analysis.totals:
                whole = totals.setdefault(total.currency, Total(total.currency, 0, 0, 0))
                whole.item_count += total.item_count
                whole.open_minor += total.open_minor
                whole.initial_minor += total.initial_minor
    for report in head.columns:
        report.filled = int(file.filled[report.position])
    return (
        replace(
            head,
            rejects=pa.concat_tables(rejects).sort_by([("line", "ascending")]).combine_chunks(),
            warnings=file_warnings(raw, wanted) + _merged(found_warnings),
            totals=[totals[currency] for currency in sorted(totals)],
            read=file.rows + len(raw.broken),
            rejected=rejected,
            accepted=None,
            accepted_count=accepted,
        ),
        result,
    )


def _merged(warnings: list[tuple[str, dict[str, str]]]) -> list[tuple[str, dict[str, str]]]:
    """The same warning of several parts as one: counts added, values listed once."""
    merged: dict[tuple[str, ...], dict[str, str]] = {}
    for code, values in warnings:
        rest = tuple(
            f"{name}={value}"
            for name, value in sorted(values.items())
            if name not in ("count", "values", "codes", "lines")
        )
        if (code, *rest) not in merged:
            merged[(code, *rest)] = dict(values)
            continue
        known_values = merged[(code, *rest)]
        if "count" in values:
            known_values["count"] = str(int(known_values["count"]) + int(values["count"]))
        if "lines" in values:
            lines = {int(line) for text in (known_values["lines"], values["lines"]) for line in text.split(",")}
            known_values["lines"] = ",".join(str(line) for line in sorted(lines)[:WARNED_LINES])
        for name in ("values", "codes"):
            if name in values:
                both = [*known_values[name].split(", "), *values[name].split(", ")]
                known_values[name] = ", ".join(list(dict.fromkeys(both))[:10])
    return [(key[0], values) for key, values in merged.items()]


def _decide(file: LargeFile, found: list[Content], position: dict[str, int]) -> Decisions:
    """One pass over all rows for what only all of them can say."""
    amounts = {position[name] for name in AMOUNT_FIELDS if name in position}
    amounts |= {
        at
        for at, content in enumerate(found)
        if at not in position.values() and content.numbers >= 0.95 and content.dates < 0.5
    }
    dates = {position[name] for name in DATE_FIELDS if name in position}
    dates |= {at for at, content in enumerate(found) if content.dates >= 0.8}
    profiles = {at: AmountColumn(at, *[pa.array([], pa.string())] * 4) for at in amounts}
    days: dict[int, pa.Array] = {at: pa.array([], pa.string()) for at in dates}
    dotted = {position[name]: [False, True] for name in _IDENTIFIERS if name in position}
    has_negative = has_signed_credit = False
    for batch in file.batches():
        negative: dict[int, np.ndarray] = {}
        for at in amounts:
            profile = profile_amounts(at, trimmed(batch.column(at)))
            _add(profiles[at], profile)
            negative[at] = _negative(profile)
        for at in dates:
            words = day_texts(trimmed(batch.column(at)).dictionary_encode()).dictionary
            days[at] = pa.concat_arrays([days[at], words]).unique()
        for at, flags in dotted.items():
            some, whole = all_dotted(trimmed(batch.column(at)))
            flags[0], flags[1] = flags[0] or some, flags[1] and whole
        sign = np.zeros(batch.num_rows, dtype=bool)
        for name in ("localAmount", "openAmount", "initialAmount"):
            if name in position:
                sign |= negative[position[name]]
        has_negative = has_negative or bool(sign.any())
        if "itemType" in position and not has_signed_credit:
            has_signed_credit = bool((sign & _credits(batch.column(position["itemType"]))).any())
    for profile in profiles.values():
        decide_sign(profile)
        if not profile.only_point and not profile.only_comma and not profile.either:
            profile.sign, profile.decided_by = profile.sign or ".", profile.decided_by or "no separator"
    return Decisions(
        {at: profile_dates(at, words.dictionary_encode()) for at, words in days.items()},
        profiles,
        {at: flags == [True, True] for at, flags in dotted.items()},
        has_negative,
        has_signed_credit,
    )


def _add(whole: AmountColumn, part: AmountColumn) -> None:
    whole.fits_point += part.fits_point
    whole.fits_comma += part.fits_comma
    whole.filled += part.filled
    whole.either += part.either
    whole.only_point += part.only_point
    whole.only_comma += part.only_comma
    whole.examples = list(dict.fromkeys([*whole.examples, *part.examples]))[:3]


def _negative(profile: AmountColumn) -> np.ndarray:
    mask = pc.starts_with(profile.simple, "-") if profile.simple is not None else profile.negative
    return pc.fill_null(mask, False).to_numpy(zero_copy_only=False)


def _credits(values: pa.Array) -> np.ndarray:
    """Which rows have a type that is a credit by name."""
    encoded = trimmed(values).dictionary_encode()
    words = encoded.dictionary.to_pylist()
    kinds = [known.KIND_BY_WORD.get(header_key(word) or word.lower()) in known.CREDIT_KINDS for word in words]
    return pa.array(kinds, pa.bool_()).take(encoded.indices).to_numpy(zero_copy_only=False)


def _parted(file: LargeFile, account: int) -> Iterator[pa.Table]:
    """The rows by ranges of accounts, ascending, each range small enough to be read at once; file order within."""
    assert file.sample is not None
    values = pc.array_sort_indices(names := trimmed(file.sample.column(account)))
    count = -(-file.rows // PART_ROWS)
    picks = [len(names) * number // count for number in range(1, count)]
    cuts = names.take(values).take(pa.array(picks, pa.int64())).unique() if len(names) else names
    files = [file.folder / f"part-{number}.arrow" for number in range(len(cuts) + 1)]
    writers: list[pa.ipc.RecordBatchFileWriter] = []
    for batch in file.batches():
        if not writers:
            writers = [pa.ipc.new_file(str(name), batch.schema) for name in files]
        part = _part_of(trimmed(batch.column(account)), cuts)
        order = np.argsort(part, kind="stable")
        sorted_rows = batch.take(pa.array(order))
        ends = np.searchsorted(part[order], np.arange(len(files)), side="right")
        start = 0
        for writer, end in zip(writers, ends.tolist(), strict=True):
            if end > start:
                writer.write_batch(sorted_rows.slice(start, end - start))
            start = end
    for writer in writers:
        writer.close()
    for name in files:
        with pa.OSFile(str(name)) as source:
            table = pa.ipc.open_file(source).read_all().combine_chunks()
        name.unlink()
        if table.num_rows:
            yield table


def _part_of(accounts: pa.Array, cuts: pa.Array) -> np.ndarray:
    """How many cuts are not above each account: by one sort of both together."""
    encoded = accounts.dictionary_encode()
    both = pa.concat_arrays([cuts, encoded.dictionary])
    order = pc.array_sort_indices(both).to_numpy()
    is_cut = order < len(cuts)
    below = np.empty(len(both), dtype=np.int64)
    below[order] = np.cumsum(is_cut)
    return below[len(cuts) :][encoded.indices.to_numpy()]
