"""What an automatic import tells its people: a text for readers and a structure for programs, English and French."""

from __future__ import annotations

from typing import Any

from importer import domain
from importer.store import BatchRow, SourceRow
from importer.translate import counts_of
from kit.money import format_amount

REJECTS_TOLD = 20

_WORDS: dict[str, tuple[str, str]] = {
    "APPLIED": ("was imported", "a été importé"),
    "PREVIEWED": ("was read and waits to be applied", "a été lu et attend d'être appliqué"),
    "QUESTIONS": ("waits for answers", "attend des réponses"),
    "FAILED": ("was not imported", "n'a pas été importé"),
    "CANCELLED": ("was given up", "a été abandonné"),
    "ROLLED_BACK": ("was taken back", "a été annulé"),
    "double": ("was imported before; nothing was done", "a déjà été importé ; rien n'a été fait"),
    "source": ("Source", "Source"),
    "entity": ("Entity", "Entité"),
    "read": ("Rows read", "Lignes lues"),
    "accepted": ("Rows that can be applied", "Lignes applicables"),
    "created": ("New", "Nouvelles"),
    "updated": ("Changed", "Modifiées"),
    "unchanged": ("Unchanged", "Inchangées"),
    "cleared": ("Settled by their row", "Soldées par leur ligne"),
    "cleared_absent": ("Settled because absent", "Soldées car absentes"),
    "rejected": ("Rejected", "Rejetées"),
    "total": ("Total", "Total"),
    "rejects": ("Rejected rows", "Lignes rejetées"),
    "line": ("line", "ligne"),
    "more": ("and {count} more", "et {count} autres"),
    "open": ("Open it", "L'ouvrir"),
    "download": ("All rejected rows", "Toutes les lignes rejetées"),
    "questions": ("To be answered", "À répondre"),
}


def _word(key: str, language: str) -> str:
    return _WORDS[key][language == "fr"]


def subject(language: str, run: BatchRow, source: SourceRow) -> str:
    """One line: what became of the file, and how many rows were refused."""
    counts = counts_of(run)
    line = f"{source.name}: {run.file_name} {_word(run.state, language)}"
    if counts.rejected and run.state in ("APPLIED", "PREVIEWED"):
        line += f" ({_word('rejected', language).lower()}: {counts.rejected})"
    return line[:250]


def report_text(language: str, public_url: str, run: BatchRow, source: SourceRow, is_double: bool = False) -> str:
    """The whole report as plain text."""
    counts = counts_of(run)
    lines = [
        f"{run.file_name} {_word('double' if is_double else run.state, language)}.",
        "",
        f"{_word('source', language)}: {source.name}",
        f"{_word('entity', language)}: {run.entity_code}",
    ]
    if run.failure_code:
        lines += ["", domain.failure_text(run.failure_code, language, **run.failure_values)]
    if run.state == "QUESTIONS":
        lines += ["", f"{_word('questions', language)}:"]
        for question in run.details.get("questions", []):
            lines.append(f"- {question['text_fr' if language == 'fr' else 'text']}")
    if run.read_count:
        lines.append("")
        names = (
            ("read", "created", "updated", "unchanged", "cleared", "rejected", "cleared_absent")
            if run.state in ("APPLIED", "ROLLED_BACK")
            else ("read", "accepted", "rejected")
        )
        for name in names:
            figure = getattr(counts, name)
            if figure or name in ("read", "rejected"):
                lines.append(f"{_word(name, language)}: {figure}")
        for total in run.details.get("totals", []):
            amount = format_amount(total["open_minor"], total["currency"])
            lines.append(f"{_word('total', language)}: {amount} {total['currency']}")
    lines += _rejects(language, run, counts.rejected)
    if public_url:
        address = f"{public_url.rstrip('/')}/imports/{run.import_id}"
        lines += ["", f"{_word('open', language)}: {address}"]
        if counts.rejected:
            csv = f"{public_url.rstrip('/')}/v1/imports/{run.import_id}/rejects.csv"
            lines.append(f"{_word('download', language)}: {csv}")
    return "\n".join(lines) + "\n"


def _rejects(language: str, run: BatchRow, count: int) -> list[str]:
    told: list[tuple[int, str]] = []
    for reject in run.details.get("rejects", []):
        told.append((reject["line"], domain.reason_text(reject["code"], reject["header"], reject["value"], language)))
    for line, field, code in run.ledger_rejects:
        told.append((line, domain.reason_text(code, field, "", language)))
    if not told:
        return []
    lines = ["", f"{_word('rejects', language)}:"]
    lines += [f"- {_word('line', language)} {line}: {reason}" for line, reason in told[:REJECTS_TOLD]]
    if count > REJECTS_TOLD:
        lines.append(_word("more", language).format(count=count - REJECTS_TOLD))
    return lines


def report_json(run: BatchRow) -> dict[str, Any]:
    """The report for programs."""
    counts = counts_of(run)
    return {
        "importId": run.import_id,
        "fileName": run.file_name,
        "sha256": run.sha256,
        "entityCode": run.entity_code,
        "state": run.state,
        "failureCode": run.failure_code,
        "rowCounts": {
            name: getattr(counts, name)
            for name in (
                "read",
                "accepted",
                "created",
                "updated",
                "unchanged",
                "cleared",
                "rejected",
            )
        }
        | {"clearedAbsent": counts.cleared_absent},
        "totals": [
            {"currency": total["currency"], "amount": format_amount(total["open_minor"], total["currency"])}
            for total in run.details.get("totals", [])
        ],
    }
