"""Accounts that are one customer: finding them, putting them into one, taking them apart again.

What moves keeps its history: entries of item_changes name the account they were written for, and items and contacts
name the account they came from (original_account_id), which is how a merge is undone.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Text, cast, func, select, text, update
from sqlalchemy.orm import Session, aliased

from kit import bulk, context, listing
from kit.ids import new_id
from ledger.store import load, saying
from ledger.store.queries import Page
from ledger.store.tables import AccountMergeRow, AccountRow, ContactRow, EntityRow

NAME_KEY_MIN_CHARACTERS = 4
SKELETON_MIN_CHARACTERS = 6
ACCOUNTS_PER_SUGGESTION = 10


def _run(session: Session, statement: str, **params: Any) -> Any:
    return session.execute(text(statement), {"tenant": context.current_tenant(), **params})


def surviving(session: Session, account_id: str) -> str:
    """The account in which the items of this one are now: itself, unless it was merged into another."""
    into = session.scalars(select(AccountRow.merged_into_id).where(AccountRow.account_id == account_id)).first()
    return into or account_id


# A name's consonants without doubles: spellings that differ by a vowel or a doubled letter have the same.
_SKELETON = "regexp_replace(regexp_replace(name_key, '[aeiouy]', '', 'g'), '(.)\\1+', '\\1', 'g')"
_SUGGESTIONS = f"""
WITH candidates AS MATERIALIZED (
    SELECT a.account_id, a.number, u.registration_number || ' ' || u.country AS registration,
        u.registration_number <> '' AS is_registered, ledger_name_key(a.name) AS name_key
    FROM accounts AS a JOIN legal_units AS u ON u.legal_unit_id = a.legal_unit_id
    WHERE a.entity_id = :entity AND a.merged_into_id IS NULL
), skeletons AS (SELECT c.*, {_SKELETON} AS skeleton FROM candidates AS c),
found AS (
    SELECT 1 AS rank, 'SAME_REGISTRATION' AS reason, registration AS shared, array_agg(account_id) AS ids
    FROM candidates WHERE is_registered GROUP BY registration HAVING count(*) > 1
    UNION ALL
    SELECT 2, 'SAME_NAME', name_key, array_agg(account_id)
    FROM candidates WHERE length(name_key) >= :name_min
    GROUP BY name_key HAVING count(*) > 1 AND count(DISTINCT registration) FILTER (WHERE is_registered) <= 1
        AND NOT bool_and(is_registered)
    UNION ALL
    SELECT 3, 'SIMILAR_NAME', skeleton, array_agg(account_id)
    FROM skeletons WHERE length(skeleton) >= :skeleton_min
    GROUP BY skeleton HAVING count(DISTINCT name_key) > 1
        AND count(DISTINCT registration) FILTER (WHERE is_registered) <= 1
)
SELECT reason, shared, ids FROM found ORDER BY rank, cardinality(ids) DESC, shared LIMIT :most
"""


def suggestions(session: Session, entity_id: str, most: int) -> list[Row]:
    """(reason, shared, ids) of accounts that look like one customer, most likely first."""
    params = {"entity": entity_id, "most": most, "name_min": NAME_KEY_MIN_CHARACTERS}
    return list(_run(session, _SUGGESTIONS, skeleton_min=SKELETON_MIN_CHARACTERS, **params))


def accounts_by_size(session: Session, account_ids: Sequence[str]) -> list[str]:
    """Those accounts, the one with most items first."""
    rows = _run(
        session,
        "SELECT a.account_id FROM accounts AS a WHERE a.account_id = ANY(CAST(:ids AS uuid[]))"
        " ORDER BY (SELECT count(*) FROM items AS i WHERE i.account_id = a.account_id) DESC, a.number",
        ids=list(account_ids),
    )
    return [str(row.account_id) for row in rows][:ACCOUNTS_PER_SUGGESTION]


def conflicts(session: Session, account_ids: Sequence[str], most: int) -> list[Row]:
    """(number, account_numbers) of items that more than one of the accounts has."""
    return list(
        _run(
            session,
            """
SELECT i.number, array_agg(DISTINCT a.number ORDER BY a.number) AS account_numbers
FROM items AS i JOIN accounts AS a ON a.account_id = i.account_id
WHERE i.account_id = ANY(CAST(:ids AS uuid[])) AND i.external_id IS NULL
GROUP BY i.number, i.line_number, i.fiscal_year, i.kind HAVING count(*) > 1 ORDER BY i.number LIMIT :most
""",
            ids=list(account_ids),
            most=most,
        )
    )


def sizes(session: Session, account_ids: Sequence[str]) -> tuple[int, int]:
    """How many items accounts have, and how many holds on them are in force or will be."""
    row = _run(
        session,
        "SELECT (SELECT count(*) FROM items WHERE account_id = ANY(CAST(:ids AS uuid[]))) AS items,"
        " (SELECT count(*) FROM holds WHERE account_id = ANY(CAST(:ids AS uuid[])) AND state = 'ACTIVE') AS holds",
        ids=list(account_ids),
    ).one()
    return row.items, row.holds


def names(session: Session, account_ids: Sequence[str]) -> dict[str, set[str]]:
    """The spellings of each of these accounts."""
    found: dict[str, set[str]] = {account_id: set() for account_id in account_ids}
    for row in _run(
        session,
        "SELECT account_id, name FROM account_names WHERE account_id = ANY(CAST(:ids AS uuid[]))",
        ids=list(account_ids),
    ):
        found[str(row.account_id)].add(row.name)
    return found


def moving_contacts(session: Session, survivor_id: str, merged_ids: Sequence[str]) -> list[str]:
    """Contacts of the merged accounts that the survivor does not have; of equal ones the oldest."""
    key = "CASE WHEN {0}.email = '' THEN {0}.name ELSE lower({0}.email) END, {0}.email = ''"
    rows = _run(
        session,
        f"""
SELECT DISTINCT ON ({key.format("c")}) c.contact_id FROM contacts AS c
WHERE c.account_id = ANY(CAST(:merged AS uuid[])) AND NOT EXISTS (SELECT 1 FROM contacts AS s
    WHERE s.account_id = :survivor AND ({key.format("s")}) = ({key.format("c")}))
ORDER BY {key.format("c")}, c.made_at, c.contact_id
""",
        survivor=survivor_id,
        merged=list(merged_ids),
    )
    return [str(row.contact_id) for row in rows]


def touch(session: Session, account_ids: Sequence[str]) -> None:
    """Makes touched of these accounts and locks them in the order in which everybody does."""
    literal = ", ".join(f"(CAST('{account_id}' AS uuid))" for account_id in sorted(account_ids))
    load.touch(
        session, f"SELECT v.account_id, CAST(NULL AS text) AS payment_terms FROM (VALUES {literal}) AS v(account_id)"
    )


def _say_moved(session: Session, entity_code: str) -> None:
    """Says the items of moved_item as they are now; their histories stay as they were said."""
    rows = bulk.copy_out_arrow(
        session,
        "SELECT i.item_id, i.version, i.account_id, i.number, i.kind, i.currency, i.issue_on, i.due_on,"
        " i.initial_minor, i.settled_on, i.order_number, i.issued_minor, i.issued_on"
        " FROM items AS i JOIN moved_item AS m ON m.item_id = i.item_id",
    )
    if rows.num_rows:
        saying.say_items(session, rows, entity_code)
    session.execute(text("DROP TABLE moved_item"))


def move_items(session: Session, survivor_id: str, merged_ids: Sequence[str], entity_code: str) -> int:
    """Moves all items of the merged accounts, with their holds, and says so; returns how many there were."""
    _run(
        session,
        "CREATE TEMP TABLE moved_item ON COMMIT DROP AS SELECT item_id FROM items"
        " WHERE account_id = ANY(CAST(:merged AS uuid[]))",
        merged=list(merged_ids),
    )
    moved = _run(
        session,
        "UPDATE items SET original_account_id = coalesce(original_account_id, account_id), account_id = :survivor,"
        " version = version + 1 WHERE account_id = ANY(CAST(:merged AS uuid[]))",
        survivor=survivor_id,
        merged=list(merged_ids),
    ).rowcount
    _run(
        session,
        "UPDATE holds SET account_id = :survivor WHERE account_id = ANY(CAST(:merged AS uuid[]))",
        survivor=survivor_id,
        merged=list(merged_ids),
    )
    _say_moved(session, entity_code)
    return moved


def move_items_back(session: Session, survivor_id: str, account_id: str, entity_code: str) -> int:
    """Moves what came from an account, or for its number since, back to it."""
    _run(
        session,
        "CREATE TEMP TABLE moved_item ON COMMIT DROP AS SELECT item_id FROM items"
        " WHERE account_id = :survivor AND original_account_id = :account",
        survivor=survivor_id,
        account=account_id,
    )
    moved = _run(
        session,
        "UPDATE items AS i SET account_id = :account, original_account_id = NULL, version = version + 1"
        " FROM moved_item AS m WHERE i.item_id = m.item_id",
        account=account_id,
    ).rowcount
    _run(
        session,
        "UPDATE holds AS h SET account_id = :account FROM moved_item AS m WHERE h.item_id = m.item_id",
        account=account_id,
    )
    _say_moved(session, entity_code)
    return moved


def move_contacts(session: Session, contact_ids: Sequence[str], account_id: str) -> None:
    """Moves contacts to an account."""
    session.execute(
        update(ContactRow)
        .where(ContactRow.contact_id.in_(contact_ids))
        .values(
            account_id=account_id,
            original_account_id=func.coalesce(ContactRow.original_account_id, ContactRow.account_id),
        )
        .execution_options(synchronize_session=False)
    )


def move_contacts_back(session: Session, survivor_id: str, account_id: str) -> None:
    """Moves contacts that came from an account back to it."""
    session.execute(
        update(ContactRow)
        .where(ContactRow.account_id == survivor_id, ContactRow.original_account_id == account_id)
        .values(account_id=account_id, original_account_id=None)
        .execution_options(synchronize_session=False)
    )


def recount_names(session: Session, account_ids: Sequence[str]) -> None:
    """Counts anew how many items carry each spelling of these accounts' names."""
    params = {"ids": list(account_ids)}
    _run(
        session,
        "UPDATE account_names SET item_count = 0 WHERE account_id = ANY(CAST(:ids AS uuid[]))",
        **params,
    )
    _run(
        session,
        """
INSERT INTO account_names AS n (tenant_id, account_id, name, item_count, first_seen_at)
SELECT :tenant, account_id, account_name, count(*), now() FROM items
WHERE account_id = ANY(CAST(:ids AS uuid[])) AND account_name <> '' GROUP BY account_id, account_name
ON CONFLICT (tenant_id, account_id, name) DO UPDATE SET item_count = excluded.item_count
""",
        **params,
    )


def add_names(session: Session, account_id: str, spellings: Sequence[str]) -> None:
    """Makes spellings known that no item carries."""
    _run(
        session,
        "INSERT INTO account_names (tenant_id, account_id, name, item_count, first_seen_at)"
        " SELECT :tenant, :account, name, 0, now() FROM unnest(CAST(:names AS text[])) AS name ON CONFLICT DO NOTHING",
        account=account_id,
        names=list(spellings),
    )


def drop_names(session: Session, account_id: str, spellings: Sequence[str]) -> None:
    """Forgets those of the spellings that no item carries."""
    _run(
        session,
        "DELETE FROM account_names WHERE account_id = :account AND item_count = 0 AND name = ANY(CAST(:names AS text[]))",
        account=account_id,
        names=list(spellings),
    )


def link(session: Session, survivor_id: str, merged_ids: Sequence[str]) -> None:
    """Makes signs of the merged accounts, and lets those that pointed to them, or were collected through them, point on."""
    _run(
        session,
        "UPDATE accounts SET merged_into_id = :survivor, master_account_id = NULL, load_digest = NULL,"
        " load_version = NULL, load_covers = false"
        " WHERE account_id = ANY(CAST(:merged AS uuid[])) OR merged_into_id = ANY(CAST(:merged AS uuid[]))",
        survivor=survivor_id,
        merged=list(merged_ids),
    )
    _run(
        session,
        "UPDATE accounts SET master_account_id = nullif(CAST(:survivor AS uuid), account_id)"
        " WHERE master_account_id = ANY(CAST(:merged AS uuid[]))",
        survivor=survivor_id,
        merged=list(merged_ids),
    )


def unlink(session: Session, account_id: str) -> None:
    """Makes an account of a sign again."""
    _run(session, "UPDATE accounts SET merged_into_id = NULL WHERE account_id = :account", account=account_id)


def grouped_under(session: Session, account_ids: Sequence[str]) -> list[str]:
    """Accounts collected through these, by id."""
    return list(
        session.scalars(
            select(AccountRow.account_id)
            .where(AccountRow.master_account_id.in_(account_ids))
            .order_by(AccountRow.account_id)
        )
    )


def signs_to(session: Session, account_ids: Sequence[str]) -> list[str]:
    """Accounts that were merged into these, by id."""
    return list(
        session.scalars(
            select(AccountRow.account_id)
            .where(AccountRow.merged_into_id.in_(account_ids))
            .order_by(AccountRow.account_id)
        )
    )


def keep(session: Session, **columns: Any) -> str:
    """Writes the record of a merge; returns its id."""
    row = AccountMergeRow(
        merge_id=new_id(), merged_at=func.clock_timestamp(), merged_by=context.current_caller().actor, split_by="",
        **columns,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row.merge_id


def in_force(session: Session, merged_id: str) -> AccountMergeRow | None:
    """The merge of an account that was not undone, locked."""
    return session.scalars(
        select(AccountMergeRow)
        .where(AccountMergeRow.merged_id == merged_id, AccountMergeRow.split_at.is_(None))
        .with_for_update()
    ).first()


def end(session: Session, row: AccountMergeRow) -> None:
    """Notes that a merge was undone."""
    row.split_at, row.split_by = func.clock_timestamp(), context.current_caller().actor
    session.flush()


def crosses_allocations(session: Session, survivor_id: str, account_id: str) -> bool:
    """Whether a credit that came from one of the accounts is set against a debt of the other."""
    if _run(session, "SELECT to_regclass('allocations') IS NULL").scalar_one():
        return False
    return _run(
        session,
        """
SELECT EXISTS (SELECT 1 FROM allocations AS l
    JOIN items AS c ON c.item_id = l.credit_item_id JOIN items AS d ON d.item_id = l.debit_item_id
    WHERE c.account_id = :survivor
        AND (c.original_account_id = :account) IS DISTINCT FROM (d.original_account_id = :account))
""",
        survivor=survivor_id,
        account=account_id,
    ).scalar_one()


def list_merges(session: Session, page: Page) -> tuple[Sequence[Row], str, int]:
    """(AccountMergeRow, entity_code, survivor, merged) within the caller's scope: a page, the next token, the total."""
    survivor, merged = aliased(AccountRow), aliased(AccountRow)
    allowed = {
        "survivor_id": cast(AccountMergeRow.survivor_id, Text),
        "merged_id": cast(AccountMergeRow.merged_id, Text),
        "entity_code": EntityRow.code,
        "is_split": AccountMergeRow.split_at.is_not(None),
    }
    codes = context.current_caller().entity_codes
    query = (
        select(AccountMergeRow, EntityRow.code, survivor, merged)
        .join(EntityRow, EntityRow.entity_id == AccountMergeRow.entity_id)
        .join(survivor, survivor.account_id == AccountMergeRow.survivor_id)
        .join(merged, merged.account_id == AccountMergeRow.merged_id)
        .where(*listing.parse_filter(page.filter, allowed))
    )
    if codes is not None:
        query = query.where(EntityRow.code.in_(sorted(codes)))
    total = session.execute(query.with_only_columns(func.count())).scalar_one()
    size, offset = listing.page_size(page.size), listing.offset_of(page.token)
    orders = {"merged_at": AccountMergeRow.merged_at}
    ordered = query.order_by(*listing.order_by(page.order_by, orders, "merged_at desc"), AccountMergeRow.merge_id)
    rows = session.execute(ordered.limit(size).offset(offset)).all()
    return rows, listing.next_offset_token(offset, len(rows), total), total
