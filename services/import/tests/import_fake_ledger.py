"""The other side of the load contract, in memory: chunks committed once, counts per row, the stock guard, faults on
demand."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import pyarrow as pa
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from quittance.ledger.v1 import ledger_load_service_pb2 as load_pb
from quittance.ledger.v1 import ledger_load_service_pb2_grpc as load_grpc
from quittance.ledger.v1 import ledger_service_pb2 as ledger_pb
from quittance.ledger.v1 import ledger_service_pb2_grpc as ledger_grpc


def refuse(context: grpc.ServicerContext, code: int, reason: str, **metadata: str) -> None:
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="quittance", metadata=metadata))
    context.abort_with_status(rpc_status.to_status(status_pb2.Status(code=code, message=reason, details=[detail])))


class FakeLedger(load_grpc.LoadServiceServicer, ledger_grpc.LedgerServiceServicer):
    """`items` by (account, number); `fail_after_chunks` breaks the stream once after that many commits."""

    address = ""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.others: list[dict[str, Any]] = []
        self.loads: dict[str, dict[int, load_pb.LoadProgress]] = {}
        self.held: dict[str, set[tuple[str, str]]] = {}
        self.modes: dict[str, int] = {}
        self.finished: dict[str, int] = {}
        self.entities = {"FR01": "EUR"}
        self.fail_after_chunks: int | None = None
        self.is_down = False
        self.commits: list[tuple[str, int]] = []
        # By load: the books before its first chunk, and who took it back.
        self.before: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        self.taken_back: set[str] = set()
        self.planned: list[tuple[str, int]] = []
        self.plan_held: dict[str, set[tuple[str, str]]] = {}
        self.plan_items: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        self.in_use = False
        self._lock = threading.Lock()

    def register(self, server: grpc.Server) -> None:
        load_grpc.add_LoadServiceServicer_to_server(self, server)
        ledger_grpc.add_LedgerServiceServicer_to_server(self, server)

    def GetEntity(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.entity not in self.entities:
            refuse(context, 5, "ENTITY_UNKNOWN")
        reply = ledger_pb.GetEntityResponse()
        reply.entity.code, reply.entity.currency = request.entity, self.entities[request.entity]
        return reply

    def GetLoad(self, request: Any, context: grpc.ServicerContext) -> Any:
        if self.is_down:
            refuse(context, 14, "DOWN")
        if request.load_id not in self.loads:
            refuse(context, 5, "LOAD_UNKNOWN")
        chunks = [self.loads[request.load_id][number] for number in sorted(self.loads[request.load_id])]
        return load_pb.GetLoadResponse(chunks=chunks, finished=request.load_id in self.finished)

    def LoadItems(self, requests: Any, context: grpc.ServicerContext) -> Any:
        yield from self._load(requests, context, load_pb.LoadItemsResponse)

    def LoadAccounts(self, requests: Any, context: grpc.ServicerContext) -> Any:
        yield from self._load(requests, context, load_pb.LoadAccountsResponse)

    def LoadContacts(self, requests: Any, context: grpc.ServicerContext) -> Any:
        yield from self._load(requests, context, load_pb.LoadContactsResponse)

    def LoadRows(self, requests: Any, context: grpc.ServicerContext) -> Any:
        yield from self._load(requests, context, load_pb.LoadRowsResponse)

    def _load(self, requests: Any, context: grpc.ServicerContext, answer: Any) -> Any:
        if self.is_down:
            refuse(context, 14, "DOWN")
        header = next(requests).header
        self.modes[header.load_id] = header.mode
        if header.plan_only:
            yield from self._plan(header, requests, context, answer)
            return
        self.loads.setdefault(header.load_id, {})
        self.before.setdefault(header.load_id, {key: dict(row) for key, row in self.items.items()})
        for request in requests:
            number = request.chunk.chunk_number
            assert len(request.chunk.rows) <= 3 * 1024 * 1024
            with self._lock:
                if self.fail_after_chunks is not None and len(self.commits) >= self.fail_after_chunks:
                    self.fail_after_chunks = None
                    refuse(context, 14, "KILLED")
                if number not in self.loads[header.load_id]:
                    with pa.ipc.open_stream(request.chunk.rows) as reader:
                        rows = reader.read_all().to_pylist()
                    self.commits.append((header.load_id, number))
                    merge = self._merge if answer is load_pb.LoadItemsResponse else self._keep
                    self.loads[header.load_id][number] = merge(header, number, rows)
            yield answer(progress=self.loads[header.load_id][number])

    def _plan(self, header: Any, requests: Any, context: grpc.ServicerContext, answer: Any) -> Any:
        """Merges into a copy of the books, and tells what each row does."""
        held: set[tuple[str, str]] = set()
        after = {key: dict(row) for key, row in self.items.items()}
        self.plan_held[header.load_id], self.plan_items[header.load_id] = held, after
        for request in requests:
            if self.is_down:
                refuse(context, 14, "DOWN")
            progress = load_pb.LoadProgress(chunk_number=request.chunk.chunk_number)
            self.planned.append((header.load_id, request.chunk.chunk_number))
            with pa.ipc.open_stream(request.chunk.rows) as reader:
                rows = reader.read_all().to_pylist()
            for row in rows:
                if answer is load_pb.LoadItemsResponse:
                    self._plan_row(progress, after, held, row)
                elif row.get("account_number") == "UNKNOWN":
                    progress.counts.rejected += 1
                    progress.rejects.add(line=row["line"], field="account_number", reason="UNKNOWN")
                else:
                    progress.counts.created += 1
            yield answer(progress=progress)

    def _plan_row(self, progress: Any, after: dict[Any, Any], held: set[Any], row: dict[str, Any]) -> None:
        key, line = (row["account_number"], row["number"]), row.pop("line")
        known = after.get(key)
        held.add(key)
        effect = "created"
        if known == row:
            progress.counts.unchanged += 1
            return
        if known is not None:
            effect = "cleared" if known["open_minor"] and not row["open_minor"] else "updated"
            if not known["open_minor"] and row["open_minor"]:
                effect = "reopened"
                progress.counts.reopened += 1
        name = {"reopened": "updated"}.get(effect, effect)
        setattr(progress.counts, name, getattr(progress.counts, name) + 1)
        told = progress.effects.add(
            line=line, effect=effect, account_number=key[0], number=key[1], currency=row["currency"]
        )
        for field in ("open_minor", "initial_minor", "due_on", "text") if known is not None else ():
            if known[field] != row[field]:
                told.changes.add(field=field, old=str(known[field] or ""), new=str(row[field] or 0))
        after[key] = row

    def _balances(self, before: dict[Any, Any], after: dict[Any, Any]) -> list[Any]:
        found: dict[str, Any] = {}
        for moment, books in (("before", before), ("after", after)):
            for row in books.values():
                if row["open_minor"]:
                    one = found.setdefault(row["currency"], load_pb.LoadBalance(currency=row["currency"]))
                    items, amount = f"items_{moment}", f"open_{moment}_minor"
                    setattr(one, items, getattr(one, items) + 1)
                    setattr(one, amount, getattr(one, amount) + row["open_minor"])
        return [found[code] for code in sorted(found)]

    def RollBackLoad(self, request: Any, context: grpc.ServicerContext) -> Any:
        if self.is_down:
            refuse(context, 14, "DOWN")
        if request.load_id not in self.before:
            refuse(context, 5, "LOAD_UNKNOWN")
        if self.in_use:
            refuse(context, 9, "LOAD_IN_USE")
        last = [load_id for load_id in self.before if load_id not in self.taken_back]
        if request.load_id not in self.taken_back and last[-1] != request.load_id:
            refuse(context, 9, "NOT_LAST_LOAD", load_id=last[-1])
        before = self.before[request.load_id]
        reply = load_pb.RollBackLoadResponse(
            closed=sum(key not in before for key in self.items),
            restored=sum(key in before and before[key] != row for key, row in self.items.items()),
            balances=self._balances(self.items, before),
        )
        if not request.plan_only and request.load_id not in self.taken_back:
            self.items = {key: dict(row) for key, row in before.items()}
            self.taken_back.add(request.load_id)
        return reply

    def _keep(self, header: Any, number: int, rows: list[dict[str, Any]]) -> load_pb.LoadProgress:
        progress = load_pb.LoadProgress(chunk_number=number)
        for row in rows:
            if row.get("account_number") == "UNKNOWN":
                progress.counts.rejected += 1
                progress.rejects.add(line=row["line"], field="account_number", reason="UNKNOWN")
            else:
                self.others.append(row)
                progress.counts.created += 1
        return progress

    def _merge(self, header: Any, number: int, rows: list[dict[str, Any]]) -> load_pb.LoadProgress:
        progress = load_pb.LoadProgress(chunk_number=number)
        for row in rows:
            key = (row["account_number"], row["number"])
            line = row.pop("line")
            known = self.items.get(key)
            self.held.setdefault(header.load_id, set()).add(key)
            if known is None:
                progress.counts.created += 1
            elif known == row:
                progress.counts.unchanged += 1
            elif known["open_minor"] and not row["open_minor"]:
                progress.counts.cleared += 1
            else:
                progress.counts.updated += 1
            assert line > 0
            self.items[key] = row
        return progress

    def FinishLoad(self, request: Any, context: grpc.ServicerContext) -> Any:
        if self.is_down:
            refuse(context, 14, "DOWN")
        if request.plan_only:
            return self._finish_plan(request)
        if request.load_id not in self.loads:
            refuse(context, 5, "LOAD_UNKNOWN")
        opened = [key for key, row in self.items.items() if row["open_minor"]]
        absent: list[tuple[str, str]] = []
        if self.modes[request.load_id] == load_pb.LOAD_MODE_STOCK and request.load_id not in self.finished:
            absent = [key for key in opened if key not in self.held.get(request.load_id, set())]
            if len(absent) > 0.3 * len(opened) and not request.confirm_clearing:
                refuse(context, 9, "STOCK_GUARD", cleared_items=str(len(absent)), open_items=str(len(opened)))
            for key in absent:
                self.items[key] = {**self.items[key], "open_minor": 0}
        cleared = self.finished.setdefault(request.load_id, len(absent))
        balances = self._balances(self.before.get(request.load_id, {}), self.items)
        return load_pb.FinishLoadResponse(cleared_absent=cleared, open_items=len(opened), balances=balances)

    def _finish_plan(self, request: Any) -> Any:
        after, held = self.plan_items.get(request.load_id, {}), self.plan_held.get(request.load_id, set())
        opened = [key for key, row in self.items.items() if row["open_minor"]]
        reply = load_pb.FinishLoadResponse(open_items=len(opened))
        if self.modes[request.load_id] == load_pb.LOAD_MODE_STOCK:
            absent = [key for key in opened if key not in held]
            reply.cleared_absent = len(absent)
            for key in absent:
                row = self.items[key]
                told = reply.absent.add(
                    effect="cleared", account_number=key[0], number=key[1], currency=row["currency"]
                )
                told.changes.add(field="open_minor", old=str(row["open_minor"]), new="0")
                after[key] = {**after[key], "open_minor": 0}
            del reply.absent[200:]
        reply.balances.extend(self._balances(self.items, after))
        return reply
