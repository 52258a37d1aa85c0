"""The job that asks the ledger what accepted rows would do, before anything is applied."""

from __future__ import annotations

import io
import json
import logging
import time
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from importer import domain, store
from importer.store import BatchRow
from importer.usecases.accepted import chunk_of
from importer.usecases.deciding import begin_apply, checks_of
from importer.usecases.sending import Chunks, peer_of
from importer.usecases.state import changed, fail, stock_question, with_warning, work_key
from kit import bulk, clock, files
from kit.errors import Refused
from quittance.ledger.v1 import ledger_load_service_pb2 as load_pb

log = logging.getLogger(__name__)

COUNTS = ("created", "updated", "unchanged", "cleared", "rejected", "reopened")
REJECTS_KEPT = 100
EFFECTS_FILE = "effects.json"


def plan_import(job: Any, import_id: str, plan_round: int) -> None:
    """Plans the accepted rows; leaves QUESTIONS, PREVIEWED, FAILED or, when asked to, APPLYING. Repeatable."""
    with job.database.transaction() as session:
        row = store.batch_for_update(session, import_id)
        if not _is_mine(row, plan_round):
            return
        assert row is not None
        session.expunge(row)
    plan = _Plan(job, row)
    started = time.monotonic()
    refusal: Refused | None = None
    try:
        plan.run()
        plan.keep_effects()
    except Refused as refused:
        refusal = refused
    with job.database.transaction() as session:
        job.fence(session)
        kept = store.batch_for_update(session, import_id)
        if not _is_mine(kept, plan_round):
            return
        assert kept is not None
        kept.stage, kept.stage_rows, kept.rows_per_second = "", 0, 0.0
        kept.stage_seconds = {**kept.stage_seconds, "plan": round(time.monotonic() - started, 3)}
        if refusal is None:
            kept.plan = plan.result()
            if plan.passed_over:
                kept.details = with_warning(kept.details, "ownedHere", count=str(plan.passed_over))
            _decide(session, kept)
        elif not refusal.is_transient:
            fail(session, kept, "LEDGER_REFUSED", detail=refusal.message or refusal.reason)
        elif kept.apply:
            fail(session, kept, "LEDGER_UNREACHABLE", detail=refusal.message or refusal.reason)
        else:
            # What the file says can be seen all the same; what it would do is computed before it is applied.
            kept.plan = {}
            kept.state = "PREVIEWED"
            kept.details = with_warning(kept.details, "planUnknown")
            changed(session, kept)


def _is_mine(row: BatchRow | None, plan_round: int) -> bool:
    return row is not None and row.plan_round == plan_round and row.state == "READING"


def _decide(session: Any, row: BatchRow) -> None:
    """Asks what a person must decide, seeing the consequences; else goes on."""
    questions = []
    about_totals = domain.control_question(checks_of(row))
    if about_totals is not None and row.answers.get("controlTotals") != "APPLY":
        questions.append(asdict(about_totals))
    if row.answers.get("stockGuard") != "CONFIRM":
        questions += [asdict(question) for question in _guard_questions(row)]
    row.details = {**row.details, "questions": questions}
    if questions:
        row.state = "QUESTIONS"
    elif row.apply:
        begin_apply(session, row)
        return
    else:
        row.state = "PREVIEWED"
    changed(session, row)


def _guard_questions(row: BatchRow) -> list[domain.Question]:
    if row.mode != "stock" or row.object != domain.ITEMS or row.plan.get("skipped"):
        return []
    plan = row.plan
    if domain.is_doubtful(plan["open_items"], plan["cleared_absent"], plan["absent_shares"]):
        return [stock_question(str(plan["cleared_absent"]), str(plan["open_items"]))]
    other = [values for code, values in row.details.get("warnings", []) if code == "otherEntity"]
    if other:
        return [stock_question(str(plan["cleared_absent"]), str(plan["open_items"]), other[0]["codes"])]
    return []


class _Plan:
    """One plan on its way: counts, effects, refused rows, and the books before and after."""

    def __init__(self, job: Any, row: BatchRow) -> None:
        self.job, self.row = job, row
        self.peer = peer_of(job, row)
        self.reset()

    def reset(self) -> None:
        """Begins from the first chunk again: a plan leaves nothing to go on from."""
        self.counts = dict.fromkeys(COUNTS, 0)
        self.rejects: list[list[Any]] = []
        self.effects: list[dict[str, Any]] = []
        self.end = load_pb.FinishLoadResponse()
        self.skipped = False
        self.done = 0
        # Values whose field the ERP does not own.
        self.passed_over = 0
        self.started = time.monotonic()
        self.saved_at = self.started

    def run(self) -> None:
        """Asks the ledger. Raises Refused when it will not, or cannot for too long."""
        settings = self.job.settings
        patience_until, pause_s = time.monotonic() + settings.ledger_patience_s, 0.2
        while True:
            self.reset()
            try:
                self._ask()
                return
            except Refused as refusal:
                if not refusal.is_transient or time.monotonic() > patience_until:
                    raise
                log.warning("import %s: no plan yet (%s), trying again", self.row.import_id, refusal.reason)
                time.sleep(min(pause_s, max(patience_until - time.monotonic(), 0)))
                pause_s = min(pause_s * 2, 5.0)

    def _ask(self) -> None:
        if self._clears_nothing():
            self.skipped = True
            return

        chunks = Chunks(self.job, self.row, range(len(self.row.chunk_bounds)))
        for progress in self.peer.send(iter(chunks), plan_only=True):
            self._take(progress)
        chunks.check()
        self.end = self.peer.finish(plan_only=True)

    def _clears_nothing(self) -> bool:
        """Whether the only reason to plan is a guard that has nothing to guard: a complete file into empty books."""
        row = self.row
        has_more = row.mode != "stock" or any(not check.agrees for check in checks_of(row))
        if not row.apply or row.object != domain.ITEMS or has_more:
            return False
        for _ in self.peer.send(iter(()), plan_only=True):
            return False
        return self.peer.finish(plan_only=True).open_items == 0

    def _take(self, progress: load_pb.LoadProgress) -> None:
        for name in COUNTS:
            self.counts[name] += getattr(progress.counts, name)
        self.passed_over += progress.kept
        for reject in progress.rejects[: REJECTS_KEPT - len(self.rejects)]:
            self.rejects.append([reject.line, *domain.from_ledger(reject.field, reject.reason)])
        self.effects += [_effect(effect) for effect in progress.effects]
        if len(self.effects) > 20 * domain.EFFECTS_KEPT:
            self.effects = domain.kept_effects(self.effects)
        self.done = self.row.chunk_bounds[progress.chunk_number][1]
        if time.monotonic() - self.saved_at > self.job.settings.progress_every_s:
            self._save()

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        with self.job.database.transaction() as session:
            self.job.fence(session)
            row = store.batch_for_update(session, self.row.import_id)
            if _is_mine(row, self.row.plan_round):
                assert row is not None
                row.stage_rows = self.done
                row.rows_per_second = round(self.done / max(self.saved_at - self.started, 0.001), 1)
                changed(session, row)

    def keep_effects(self) -> None:
        """Keeps what rows would do, for the page and the file."""
        absent = [{**_effect(effect), "effect": "clearedAbsent"} for effect in self.end.absent]
        self.kept = domain.kept_effects([*self.effects, *absent])
        self._add_open()
        data = json.dumps(self.kept, ensure_ascii=False).encode()
        files.store(self.job.settings).put(work_key(self.row, EFFECTS_FILE), io.BytesIO(data))

    def _add_open(self) -> None:
        """What is open after each kept row, from the file; of items it does not hold, what was open."""
        amount = "open_minor" if self.row.object == domain.ITEMS else domain.AMOUNT_COLUMN.get(self.row.object, "")
        if not amount:
            return
        wanted = pa.array(sorted({effect["line"] for effect in self.kept if effect["line"]}), pa.int32())
        found: dict[int, tuple[int, str]] = {}
        for number in range(len(self.row.chunk_bounds) if len(wanted) else 0):
            rows = bulk.from_ipc(chunk_of(self.job.settings, self.row, number)).select(["line", amount, "currency"])
            rows = rows.filter(pc.is_in(rows["line"], wanted))
            values = zip(rows[amount].to_pylist(), rows["currency"].to_pylist(), strict=True)
            found |= dict(zip(rows["line"].to_pylist(), values, strict=True))
        for effect in self.kept:
            if effect["line"] in found:
                effect["open_minor"], effect["currency"] = found[effect["line"]]

    def result(self) -> dict[str, Any]:
        """The plan as the import keeps it."""
        balances = [balance_of(balance) for balance in self.end.balances]
        return {
            **self.counts,
            "cleared_absent": self.end.cleared_absent,
            "open_items": self.end.open_items,
            "absent_shares": _absent_shares(self.end),
            "effects_kept": len(self.kept),
            "balances": balances,
            "rejects": self.rejects,
            "skipped": self.skipped,
            "planned_at": clock.utc_now().isoformat(),
        }


def _absent_shares(end: load_pb.FinishLoadResponse) -> list[tuple[int, int]]:
    """Open and cleared amounts by currency, as far as the ledger names the items it would clear."""
    cleared: dict[str, int] = {}
    for effect in end.absent:
        old = next((change.old for change in effect.changes if change.field == "open_minor"), "0")
        cleared[effect.currency] = cleared.get(effect.currency, 0) + int(old or 0)
    return [(balance.open_before_minor, cleared.get(balance.currency, 0)) for balance in end.balances]


def balance_of(balance: load_pb.LoadBalance) -> list[Any]:
    """[currency, items before, open before, items after, open after], amounts in minor units."""
    return [
        balance.currency,
        balance.items_before,
        balance.open_before_minor,
        balance.items_after,
        balance.open_after_minor,
    ]


def _effect(effect: load_pb.RowEffect) -> dict[str, Any]:
    changes, opened = [], 0
    for change in effect.changes:
        name, _ = domain.from_ledger(change.field, "")
        old, new = change.old, change.new
        if change.field.endswith("_minor"):
            if change.field == "open_minor":
                opened = int(old or 0)
            name = domain.from_ledger(change.field, "")[0]
            old, new = (domain.decimal(int(text), effect.currency) if text else "" for text in (old, new))
        changes.append([name, old, new])
    return {
        "line": effect.line,
        "effect": effect.effect,
        "account_number": effect.account_number,
        "number": effect.number,
        "currency": effect.currency,
        "open_minor": opened,
        "changes": changes,
    }
