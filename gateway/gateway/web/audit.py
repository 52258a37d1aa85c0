"""The audit view: who did what, the chain that seals it, and whether the books agree with themselves."""

import json

from flask import Blueprint, render_template, request

from gateway.web import RPC_TIMEOUT_S, gettext, needs, settings
from kit.grpc_client import channel
from quittance.ledger.v1 import audit_service_pb2 as pb
from quittance.ledger.v1.audit_service_pb2_grpc import AuditServiceStub

blueprint = Blueprint("audit", __name__)

ROWS_PER_PAGE = 100
# Hashing blocks anew and asking every question take longer than a page usually may.
WORK_TIMEOUT_S = 30.0


def _stub() -> AuditServiceStub:
    return AuditServiceStub(channel(settings(), "ledger"))


def _origins() -> dict[int, str]:
    return {
        pb.AUDIT_ORIGIN_UI: gettext("workspace"),
        pb.AUDIT_ORIGIN_API: gettext("API"),
        pb.AUDIT_ORIGIN_IMPORT: gettext("import"),
        pb.AUDIT_ORIGIN_AUTOMATION: gettext("automatic"),
        pb.AUDIT_ORIGIN_SERVICE: gettext("for a person"),
    }


def _acts() -> dict[str, str]:
    return {
        "entity.create": gettext("Entity opened"),
        "account.update": gettext("Account changed"),
        "contact.create": gettext("Contact added"),
        "contact.update": gettext("Contact changed"),
        "contact.mark": gettext("Contact marked"),
        "holds.place": gettext("Holds placed"),
        "holds.release": gettext("Holds released"),
        "holds.expire": gettext("Holds expired"),
        "load.finish": gettext("File loaded"),
    }


def _fields(entry: pb.AuditEntry) -> list[tuple[str, str, str]]:
    """(field, before, after) of what an entry changed."""
    before = json.loads(entry.before) if entry.before else {}
    after = json.loads(entry.after) if entry.after else {}

    def shown(value: object) -> str:
        return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)

    return [(name, shown(before.get(name)), shown(after.get(name))) for name in dict.fromkeys([*before, *after])]


@blueprint.get("/audit")
@needs("audit:read")
def entries():
    """What people and programs did, newest first, by object or by person."""
    terms = []
    for field in ("object_id", "actor"):
        value = request.args.get(field, "").strip()
        if value:
            quoted = value.replace("\\", "\\\\").replace('"', '\\"')
            terms.append(f'{field}:"{quoted}"' if field == "actor" else f'{field}="{quoted}"')
    found = _stub().ListAuditEntries(
        pb.ListAuditEntriesRequest(
            filter=" AND ".join(terms), page_size=ROWS_PER_PAGE, page_token=request.args.get("page", "")
        ),
        timeout=RPC_TIMEOUT_S,
    )
    return render_template(
        "audit/entries.html",
        view="entries", found=found, origins=_origins(), acts=_acts(), fields=_fields, asked=request.args,
    )  # fmt: skip


@blueprint.get("/audit/blocks")
@needs("audit:read")
def blocks():
    """The chain; with ?verify=N the blocks from N on are hashed anew and compared."""
    verify = request.args.get("verify", "")
    verified = None
    if verify.isdecimal() and len(verify) < 10:
        verified = _stub().VerifyAudit(pb.VerifyAuditRequest(from_block=int(verify)), timeout=WORK_TIMEOUT_S)
    found = _stub().ListAuditBlocks(
        pb.ListAuditBlocksRequest(page_size=ROWS_PER_PAGE, page_token=request.args.get("page", "")),
        timeout=RPC_TIMEOUT_S,
    )
    whats = {"CHANGED": gettext("was changed"), "MISSING": gettext("is missing"), "ADDED": gettext("was added")}
    return render_template("audit/blocks.html", view="blocks", found=found, verified=verified, whats=whats)


@blueprint.get("/audit/consistency")
@needs("audit:read")
def consistency():
    """Every question to the books with its answer."""
    found = _stub().CheckConsistency(pb.CheckConsistencyRequest(), timeout=WORK_TIMEOUT_S)
    states = {
        pb.CONSISTENCY_STATE_WELL: ("good", gettext("well")),
        pb.CONSISTENCY_STATE_WRONG: ("bad", gettext("wrong")),
        pb.CONSISTENCY_STATE_NOT_ANSWERED: ("warn", gettext("took too long")),
    }
    return render_template("audit/consistency.html", view="consistency", found=found, states=states)
