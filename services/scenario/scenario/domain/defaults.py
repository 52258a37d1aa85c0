"""The six scenarios every tenant starts with. D is the due date of the leader."""

import uuid

from scenario.domain.model import Anchor, Channel, Mode, Scenario, Step

_NAMESPACE = uuid.UUID("5e1f7c1e-5d0b-4b57-9c39-0d3a5c1b7a10")

_EMAIL, _CALL, _LETTER = Channel.EMAIL, Channel.CALL, Channel.LETTER
_INTERNAL, _TASK = Channel.INTERNAL, Channel.TASK
_MANUAL, _AUTOMATIC = Mode.MANUAL, Mode.AUTOMATIC
_PREVIOUS = Anchor.PREVIOUS_ACTION


def _pre_due(offset: int, mode: Mode = Mode.TO_CONFIRM) -> Step:
    return Step(
        "pre-due", "Reminder before the due date", "Relance avant échéance", _EMAIL, offset, mode,
        template_key="pre-due",
        why="Brings questions about an invoice to light while there is time to answer them.",
        why_fr="Fait apparaître les questions sur une facture tant qu'il est temps d'y répondre.",
    )  # fmt: skip


def _pre_due_call(offset: int) -> Step:
    return Step(
        "pre-due-call", "Call before the due date", "Appel avant échéance", _CALL, offset, _MANUAL,
        why="Asks whether the invoices are approved and when they will be paid.",
        why_fr="Demande si les factures sont validées et quand elles seront réglées.",
    )  # fmt: skip


def _reminder(number: int, offset: int, mode: Mode = Mode.TO_CONFIRM) -> Step:
    why = {
        1: ("Says that the due date has passed and asks when payment will come.",
            "Signale que l'échéance est passée et demande une date de règlement."),
        2: ("Asks again, names what late payment costs.",
            "Relance de nouveau et rappelle ce que coûte un retard."),
        3: ("Last friendly letter before a formal notice.", "Dernière relance amiable avant la mise en demeure."),
    }[number]  # fmt: skip
    return Step(
        f"reminder-{number}", f"Reminder {number}", f"Relance {number}", _EMAIL, offset, mode,
        template_key=f"reminder-{min(number, 2)}", why=why[0], why_fr=why[1],
    )  # fmt: skip


def _call(offset: int) -> Step:
    return Step(
        "call", "Call", "Appel", _CALL, offset, _MANUAL,
        why="A voice gets an answer where a text got none.",
        why_fr="Une voix obtient une réponse là où un texte n'en a pas eu.",
    )  # fmt: skip


def _internal(offset: int, whom: str, whom_fr: str) -> Step:
    return Step(
        "internal", f"Ask {whom}", f"Consulter {whom_fr}", _INTERNAL, offset, contact_role="",
        why="A colleague may know why nothing comes.",
        why_fr="Un collègue sait peut-être pourquoi rien ne vient.",
    )  # fmt: skip


def _letter(offset: int) -> Step:
    return Step(
        "letter", "Letter", "Courrier", _LETTER, offset,
        why="Paper reaches people whom e-mail does not.",
        why_fr="Le papier atteint ceux que l'e-mail n'atteint pas.",
    )  # fmt: skip


def _formal_notice(offset: int) -> Step:
    return Step(
        "formal-notice", "Formal notice", "Mise en demeure", _EMAIL, offset, _MANUAL, template_key="formal-notice",
        contact_role="LEGAL",
        why="Last amicable step, with a deadline of 8 days; what it announces is then done.",
        why_fr="Dernière étape amiable, avec un délai de 8 jours ; ce qu'elle annonce est ensuite fait.",
    )  # fmt: skip


def _after(key: str, name: str, name_fr: str, days: int) -> Step:
    return Step(
        key, name, name_fr, _TASK, days, _MANUAL, _PREVIOUS, contact_role="",
        why="Nothing came after the formal notice: somebody has to decide.",
        why_fr="Rien n'est venu après la mise en demeure : une décision s'impose.",
    )  # fmt: skip


_DEFAULTS: tuple[tuple[str, str, str, tuple[Step, ...]], ...] = (
    ("standard", "Standard", "Standard", (
        _pre_due(-7), _reminder(1, 3), _call(10), _internal(17, "sales", "le commercial"), _reminder(2, 25),
        _formal_notice(40), _after("litigation", "Litigation proposal", "Proposition de contentieux", 10),
    )),
    ("key-account", "Key account", "Grand compte", (
        _pre_due_call(-15), _reminder(1, 2), _call(7),
        _internal(12, "the sales manager", "le directeur commercial"),
        Step("management", "Management to management", "De direction à direction", _EMAIL, 25, _MANUAL,
             template_key="reminder-2", contact_role="MANAGEMENT",
             why="Those who decide speak to those who decide.", why_fr="Les décideurs parlent aux décideurs."),
        _formal_notice(45), _after("meeting", "Decide together", "Décision en réunion", 10),
    )),
    ("small-accounts", "Small accounts (automatic)", "Petits comptes (automatique)", (
        _pre_due(-5, _AUTOMATIC), _reminder(1, 3, _AUTOMATIC), _reminder(2, 12, _AUTOMATIC),
        _reminder(3, 22, _AUTOMATIC), _letter(35), _formal_notice(50),
        _after("agency", "Collection agency", "Société de recouvrement", 10),
    )),
    ("risky", "Risky or over the limit", "À risque ou hors limite", (
        _pre_due_call(-7), _reminder(1, 1), _call(5), _letter(10), _formal_notice(18),
        _after("litigation", "Litigation or insurer", "Contentieux ou assureur", 8),
    )),
    ("export", "Export", "Export", (
        _pre_due(-10), _reminder(1, 5), _call(15), _reminder(2, 25), _letter(40), _formal_notice(55),
        _after("insurer", "Insurer or agency", "Assureur ou société de recouvrement", 15),
    )),
    ("public-sector", "Public sector", "Secteur public", (
        _pre_due(-10), _reminder(1, 10), _call(25), _letter(40), _formal_notice(60),
        _after("authority", "Claim to the authority", "Saisine de l'autorité", 15),
    )),
)  # fmt: skip


def default_scenarios(tenant_id: str) -> list[Scenario]:
    """Version 1 of the shipped scenarios, with ids that are the same each time for one tenant."""
    return [
        Scenario(
            scenario_id=str(uuid.uuid5(_NAMESPACE, f"{tenant_id}/{key}")),
            name=name, name_fr=name_fr, version=1, active=True, is_default=key == "standard", steps=steps,
        )
        for key, name, name_fr, steps in _DEFAULTS
    ]  # fmt: skip
