"""Rows of a load as whole columns, before anybody looks at the books: arranged by account, fingerprinted, summed.

Pure: no clock, no database. Amounts are minor units of the row's currency. An account's place is its position in the
chunk, from 0.
"""

import hashlib
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit import pgcopy

# Goes into every digest: must change whenever the same row would become something else in the books.
RULES = b"1"
_NOT_COMPARED = ("line", "field", "reason")


@dataclass(frozen=True)
class ItemRows:
    """Checked item rows (domain.check_items), the rows of each account one after the other.

    place: of each row's account; starts: first row of each account, and one more for the end; digests: SHA-256 of all
    that the account's rows say, lines apart; open_rows: how many of them leave something open; is_clean: whether none
    of them is refused; source_system: what the digests were made for.
    """

    table: pa.Table
    numbers: pa.Array
    place: np.ndarray
    starts: np.ndarray
    digests: pa.Array
    open_rows: np.ndarray
    is_clean: np.ndarray
    source_system: str

    def of(self, is_wanted: np.ndarray) -> pa.Table:
        """The rows of the accounts whose places are marked."""
        return self.table if is_wanted.all() else self.table.filter(pa.array(is_wanted[self.place]))


def arrange(rows: pa.Table, source_system: str) -> ItemRows:
    """Brings checked rows into the order of their accounts (first seen first, file order within) and fingerprints
    them."""
    rows = rows.combine_chunks()
    encoded = pc.fill_null(rows["account_number"], "").combine_chunks().dictionary_encode()
    place, numbers = encoded.indices.to_numpy(), encoded.dictionary
    if (np.diff(place) < 0).any():
        order = np.argsort(place, kind="stable")
        rows, place = rows.take(pa.array(order)), place[order]
    starts = np.searchsorted(place, np.arange(len(numbers) + 1))
    compared = rows.drop_columns(list(_NOT_COMPARED))
    text, offsets = pgcopy.bytes_of(pgcopy.row_bytes(compared))
    bounds = offsets[starts].tolist()
    seed = hashlib.sha256(RULES + source_system.encode() + b"\0")
    digests = []
    for start, end in pairwise(bounds):
        digest = seed.copy()
        digest.update(text[start:end])
        digests.append(digest.digest())
    is_taken = pc.is_null(rows["reason"]).to_numpy()
    leaves_open = pc.and_(pc.is_null(rows["settled_on"]), pc.not_equal(rows["open_minor"], 0))
    return ItemRows(
        table=rows,
        numbers=numbers,
        place=place,
        starts=starts,
        digests=pa.array(digests, pa.binary()),
        open_rows=np.bincount(place, pc.fill_null(leaves_open, False).to_numpy(), len(numbers)).astype("i4"),
        is_clean=np.bincount(place, is_taken, len(numbers)) == np.diff(starts),
        source_system=source_system,
    )


@dataclass(frozen=True)
class NewAccounts:
    """Accounts that nobody knew, with all their items, as the books and the events will have them.

    Ids are columns of 16 bytes. accounts: account_id, legal_unit_id, number, name, payment_terms, oldest_due_on,
    load_digest. names: account_id, name, item_count, rank (1 is the account's name). balances: account_id, currency,
    open_minor, credits_minor, item_count. items: the columns of the table items that differ. changes: item_id,
    account_id, cause, delta_minor, value_on. place: of each item's account within accounts.
    """

    accounts: pa.Table
    names: pa.Table
    balances: pa.Table
    items: pa.Table
    changes: pa.Table
    place: np.ndarray


def new_accounts(rows: ItemRows, is_new: np.ndarray, file_on: date) -> NewAccounts:
    """What the accounts at the marked places begin with. Only places that are clean may be marked."""
    found = rows.of(is_new)
    position = np.cumsum(is_new) - 1
    place = position[rows.place[is_new[rows.place]]].astype("i4")
    count = int(is_new.sum())
    # The ids of accounts and of items ascend in the order of the rows: every index grows at its right edge.
    account_ids, unit_ids = pgcopy.new_ids(count), pgcopy.new_ids(count)
    day = pa.scalar(file_on, pa.date32())
    is_settled = pc.is_valid(found["settled_on"])
    open_minor = pc.if_else(is_settled, pa.scalar(0, pa.int64()), found["open_minor"])
    nothing_open = pc.equal(open_minor, 0)
    latest = pc.max_element_wise(found["issue_on"], day)
    settled_on = pc.if_else(nothing_open, pc.coalesce(found["settled_on"], latest), pa.scalar(None, pa.date32()))
    initial = found["initial_minor"]
    is_whole = pc.equal(open_minor, initial)
    texts = {name: pc.fill_null(found[name], "") for name in ("order_number", "reference", "text", "account_name")}
    items = pa.table(
        {
            "item_id": pgcopy.uuids(pgcopy.new_ids(len(place))),
            "account_id": pgcopy.uuids(account_ids[place]),
            "number": found["number"],
            "line_number": found["line_number"],
            "kind": found["kind"],
            "currency": found["currency"],
            "issue_on": found["issue_on"],
            "due_on": found["due_on"],
            "posted_on": found["posted_on"],
            "settled_on": settled_on,
            "initial_minor": initial,
            "open_minor": open_minor,
            "fiscal_year": found["fiscal_year"],
            "external_id": found["external_id"],
            **texts,
            "custom_fields": found["custom_fields"],
            "change_count": pc.if_else(is_whole, pa.scalar(1, pa.int32()), pa.scalar(2, pa.int32())),
        }
    )
    names = _names(place, texts["account_name"])
    placed = {"place": pa.array(place), "currency": found["currency"], "open_minor": open_minor}
    balances, oldest = _balances(pa.table({**placed, "due_on": found["due_on"]}))
    first_names = names.filter(pc.equal(names["rank"], 1))
    accounts = pa.table(
        {
            "account_id": pgcopy.uuids(account_ids),
            "legal_unit_id": pgcopy.uuids(unit_ids),
            "number": rows.numbers.filter(pa.array(is_new)),
            "name": _spread(first_names["place"], first_names["name"], count, ""),
            "payment_terms": _usual(place, found["payment_terms"], count),
            "oldest_due_on": _spread(oldest["place"], oldest["due_on_min"], count, None),
            "load_digest": rows.digests.filter(pa.array(is_new)),
        }
    )
    ids = {key: pgcopy.uuids(account_ids[t["place"].to_numpy()]) for key, t in (("n", names), ("b", balances))}
    return NewAccounts(
        accounts=accounts,
        names=names.drop_columns("place").add_column(0, "account_id", ids["n"]),
        balances=balances.drop_columns("place").add_column(0, "account_id", ids["b"]),
        items=items,
        changes=_first_changes(items, pc.invert(is_whole), day),
        place=place,
    )


def _first_changes(items: pa.Table, has_rest: pa.ChunkedArray, day: pa.Scalar) -> pa.Table:
    """What is missing of items issued in full (see load.REST_CAUSE and load.REST_ON)."""
    items = items.filter(has_rest)
    initial, open_minor = items["initial_minor"], items["open_minor"]
    is_less = pc.less(pc.abs(open_minor), pc.abs(initial))
    same_side = pc.greater_equal(pc.multiply(pc.sign(open_minor), pc.sign(initial)), 0)
    return pa.table(
        {
            "item_id": items["item_id"],
            "account_id": items["account_id"],
            "cause": pc.if_else(pc.and_(is_less, same_side), "PAYMENT", "IMPORT"),
            "delta_minor": pc.subtract(open_minor, initial),
            "value_on": pc.max_element_wise(items["issue_on"], pc.coalesce(items["settled_on"], day)),
        }
    )


def _counted(place: np.ndarray, texts: pa.ChunkedArray) -> pa.Table:
    """How often each text that is not empty stands at each place: place, value, count, rank (1 the most frequent; of
    equally frequent ones the first in the alphabet)."""
    found = pa.table({"place": pa.array(place), "value": texts})
    found = found.filter(pc.fill_null(pc.not_equal(found["value"], ""), False))
    counts = found.group_by(["place", "value"], use_threads=False).aggregate([([], "count_all")])
    counts = counts.sort_by([("place", "ascending"), ("count_all", "descending"), ("value", "ascending")])
    places = counts["place"].to_numpy()
    first = np.searchsorted(places, places)
    rank = np.arange(len(places)) - first + 1
    return pa.table(
        {
            "place": counts["place"],
            "value": counts["value"],
            "count": counts["count_all"].cast(pa.int32()),
            "rank": pa.array(rank.astype("i4")),
        }
    )


def _names(place: np.ndarray, names: pa.ChunkedArray) -> pa.Table:
    return _counted(place, names).rename_columns(["place", "name", "item_count", "rank"])


def _usual(place: np.ndarray, texts: pa.ChunkedArray, count: int) -> pa.Array:
    """The most frequent text of each place, empty where there is none."""
    if texts.null_count == len(texts):
        return pa.array([""] * count, pa.string())
    counted = _counted(place, texts)
    first = counted.filter(pc.equal(counted["rank"], 1))
    return _spread(first["place"], first["value"], count, "")


def _spread(place: pa.ChunkedArray, values: pa.ChunkedArray, count: int, missing: str | None) -> pa.Array:
    """Values (one per place at most) by place, with what is missing filled in."""
    positions = np.full(count, -1, dtype="i8")
    positions[place.to_numpy()] = np.arange(len(place))
    spread = values.combine_chunks().take(pa.array(positions, mask=positions < 0))
    return spread if missing is None else spread.fill_null(missing)


def _balances(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """What is open at each place per currency, and the first due date of open debits at each place."""
    rows = rows.filter(pc.not_equal(rows["open_minor"], 0))
    rows = rows.append_column("credits_minor", pc.min_element_wise(rows["open_minor"], pa.scalar(0, pa.int64())))
    sums = rows.group_by(["place", "currency"], use_threads=False).aggregate(
        [("open_minor", "sum"), ("credits_minor", "sum"), ([], "count_all")]
    )
    balances = pa.table(
        {
            "place": sums["place"],
            "currency": sums["currency"],
            "open_minor": sums["open_minor_sum"],
            "credits_minor": sums["credits_minor_sum"],
            "item_count": sums["count_all"].cast(pa.int32()),
        }
    )
    debits = rows.filter(pc.greater(rows["open_minor"], 0))
    oldest = debits.group_by(["place"], use_threads=False).aggregate([("due_on", "min")])
    return balances, oldest
