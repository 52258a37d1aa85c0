"""AuditService: who did what, the chain, the consistency questions."""

import time

from kit import context as kit_context
from kit.db import Database
from ledger import usecases
from ledger.domain.audit import Block
from ledger.rpc.translate import page_of
from ledger.store import audit as store
from ledger.store import checks
from quittance.ledger.v1 import audit_service_pb2 as pb
from quittance.ledger.v1 import audit_service_pb2_grpc as pb_grpc

BLOCKS_DEFAULT = 20
# An answer that comes late is none: so much of the caller's time is left for the way back.
RESERVE_S = 2.0
QUESTIONS_S = 30.0


class AuditRpc(pb_grpc.AuditServiceServicer):
    """AuditService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ListAuditEntries(self, request, context):
        """What was done."""
        with self._database.transaction() as session:
            rows, token, total = store.list_entries(session, page_of(request))
        return pb.ListAuditEntriesResponse(
            entries=[entry_to_proto(row) for row in rows], next_page_token=token, total_size=total
        )

    def ListAuditBlocks(self, request, context):
        """Blocks of the chain."""
        with self._database.transaction() as session:
            rows, token, total = store.list_blocks(session, page_of(request))
        return pb.ListAuditBlocksResponse(
            blocks=[block_to_proto(row) for row in rows], next_page_token=token, total_size=total
        )

    def VerifyAudit(self, request, context):
        """Hashes the facts of some blocks anew, as many as the caller's time allows."""
        longest_s = 0.0
        began_s = time.monotonic()

        def go_on(_: Block) -> bool:
            nonlocal longest_s, began_s
            longest_s, began_s = max(longest_s, time.monotonic() - began_s), time.monotonic()
            remaining_s = kit_context.remaining_s()
            return remaining_s is None or remaining_s > RESERVE_S + longest_s

        found = usecases.audit.verify(
            self._database,
            from_block=request.from_block,
            most_blocks=request.block_count or BLOCKS_DEFAULT,
            go_on=go_on,
        )
        with self._database.transaction() as session:
            following = store.next_number(session, found.last_number + 1)
        reply = pb.VerifyAuditResponse(
            verified_blocks=found.blocks,
            verified_rows=found.rows,
            last_block=found.last_number,
            last_hash=found.last_hash.hex(),
            next_block=0 if found.finding or following is None else following,
        )
        if found.finding:
            reply.finding.CopyFrom(pb.AuditFinding(**found.finding.__dict__))
        return reply

    def CheckConsistency(self, request, context):
        """Every question with its answer, within the caller's time."""
        language = kit_context.language()
        remaining_s = kit_context.remaining_s()
        until = time.monotonic() + min(QUESTIONS_S, QUESTIONS_S if remaining_s is None else remaining_s - RESERVE_S)
        reply = pb.CheckConsistencyResponse()
        for question in checks.questions():
            left_s = until - time.monotonic()
            answer = checks.answer(self._database, question, left_s) if left_s > 0 else None
            wrong_rows = answer.wrong_rows if answer else None
            state = "NOT_ANSWERED" if wrong_rows is None else "WRONG" if wrong_rows else "WELL"
            reply.answers.append(
                pb.ConsistencyAnswer(
                    question=question,
                    meaning=checks.meaning(question, language),
                    state=pb.ConsistencyState.Value(f"CONSISTENCY_STATE_{state}"),
                    wrong_rows=wrong_rows or 0,
                    examples=answer.examples if answer else (),
                )
            )
        return reply


def entry_to_proto(row: store.AuditEntryRow) -> pb.AuditEntry:
    """An entry as the contract has it."""
    entry = pb.AuditEntry(
        entry_id=row.entry_id,
        actor=row.actor,
        origin=pb.AuditOrigin.Value(f"AUDIT_ORIGIN_{row.origin}"),
        service=row.service,
        what=row.what,
        object_kind=row.object_kind,
        object_id=row.object_id,
        entity_code=row.entity_code,
        before=row.before or "",
        after=row.after or "",
    )
    entry.recorded_at.FromDatetime(row.recorded_at)
    return entry


def block_to_proto(row: store.AuditBlockRow) -> pb.AuditBlock:
    """A block as the contract has it."""
    block = pb.AuditBlock(
        number=row.number,
        version=row.version,
        from_xid=str(row.from_xid),
        to_xid=str(row.to_xid),
        row_count=row.row_count,
        merkle_root=row.merkle_root.hex(),
        previous_hash=row.previous_hash.hex(),
        block_hash=row.block_hash.hex(),
    )
    block.sealed_at.FromDatetime(row.sealed_at)
    return block
