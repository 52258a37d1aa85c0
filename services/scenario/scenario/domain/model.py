"""What the rules read and what they answer. Days are civil days, amounts minor units of the named currency."""

import enum
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

# Kinds that nobody is asked to pay: credits, and what is already on its way to the bank.
NEVER_CHASED_KINDS = frozenset({"CREDIT_NOTE", "PAYMENT", "DOWN_PAYMENT", "OTHER_CREDIT", "IN_TRANSIT"})
MIN_CONTACT_GAP_DAYS = 4
# As many as one look at the ledger and one message hold; oldest due date first.
ITEMS_PER_ACTION_MAX = 2000


class Channel(enum.StrEnum):
    """How a step reaches somebody; values are the contract's names without prefix."""

    EMAIL = "EMAIL"
    CALL = "CALL"
    LETTER = "LETTER"
    SMS = "SMS"
    INTERNAL = "INTERNAL"
    TASK = "TASK"

    @property
    def reaches_customer(self) -> bool:
        """Whether the step counts as a contact with the customer."""
        return self not in (Channel.INTERNAL, Channel.TASK)


class Mode(enum.StrEnum):
    """Who lets a step happen."""

    MANUAL = "MANUAL"
    TO_CONFIRM = "TO_CONFIRM"
    AUTOMATIC = "AUTOMATIC"


class Anchor(enum.StrEnum):
    """What a step's days are counted from."""

    LEADER_DUE = "LEADER_DUE"
    LEADER_ISSUE = "LEADER_ISSUE"
    PREVIOUS_ACTION = "PREVIOUS_ACTION"


class ActionState(enum.StrEnum):
    """Where an action is; values are the contract's names without prefix."""

    DUE = "DUE"
    PLANNED = "PLANNED"
    SENDING = "SENDING"
    DONE = "DONE"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"


# An account has at most one action in these states; the database holds the same rule as a partial unique index.
PENDING_STATES = (ActionState.DUE, ActionState.PLANNED, ActionState.SENDING, ActionState.NEEDS_ATTENTION)
# States in which replanning may change or end the row; in the other pending ones a sender or a person has the word.
REPLANNED_STATES = (ActionState.DUE, ActionState.PLANNED)


@dataclass(frozen=True)
class Step:
    """One step of a scenario, in both languages of the product."""

    key: str
    name: str
    name_fr: str
    channel: Channel
    offset_days: int
    mode: Mode = Mode.TO_CONFIRM
    anchor: Anchor = Anchor.LEADER_DUE
    template_key: str = ""
    contact_role: str = "ACCOUNTS_PAYABLE"
    min_amount_minor: int = 0
    why: str = ""
    why_fr: str = ""

    @property
    def is_message(self) -> bool:
        """Whether it leaves through the notification service; the others are done by a person and recorded."""
        return self.channel is Channel.EMAIL

    @property
    def is_formal(self) -> bool:
        """Whether it is a formal notice: never a first word to anybody."""
        return self.template_key == "formal-notice" or self.key.startswith("formal-notice")

    @property
    def is_before_due(self) -> bool:
        """Whether it is meant for a leader that is not late."""
        return self.anchor is Anchor.LEADER_DUE and self.offset_days <= 0


@dataclass(frozen=True)
class Scenario:
    """Ordered steps; a version never changes."""

    scenario_id: str
    name: str
    name_fr: str
    version: int
    active: bool
    is_default: bool
    steps: tuple[Step, ...]

    def index_of(self, key: str) -> int | None:
        """The position of a step by its key, from 0; None when this version has no such step."""
        return next((index for index, step in enumerate(self.steps) if step.key == key), None)


@dataclass(frozen=True, slots=True)
class OpenItem:
    """One open item; held_minor is what is under holds in force on the business date, at most open_minor."""

    item_id: str
    number: str
    kind: str
    currency: str
    issue_on: date
    due_on: date | None
    open_minor: int
    held_minor: int = 0

    @property
    def is_chased(self) -> bool:
        """Whether it is a debit that a customer can be asked to pay."""
        return self.open_minor > 0 and self.kind not in NEVER_CHASED_KINDS

    @property
    def collectable_minor(self) -> int:
        """What may be asked for now."""
        return max(self.open_minor - self.held_minor, 0) if self.is_chased else 0


@dataclass(frozen=True, slots=True)
class CompletedStep:
    """A step that was confirmed as done, or left out by a person with a reason; nothing else completes a step."""

    step_key: str
    offset_days: int
    on: date
    item_ids: frozenset[str]
    reached_customer: bool = True
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class BrokenPromise:
    """A promise whose day plus tolerance is over without all of the money. Amounts of one currency."""

    item_ids: frozenset[str]
    promised_on: date
    broken_on: date
    currency: str
    promised_minor: int
    received_minor: int


@dataclass(frozen=True, slots=True)
class Move:
    """A person moved the step of this leader to another day."""

    step_key: str
    leader_item_id: str
    on: date


@dataclass(frozen=True)
class Calendar:
    """Days on which the entity works."""

    closed_weekdays: frozenset[int] = frozenset({5, 6})
    holidays: Container[date] = frozenset()

    def next_open(self, day: date) -> date:
        """The day itself when it is open, else the first open day after it. Raises ValueError when a year has none."""
        for days in range(366):
            candidate = day + timedelta(days=days)
            if candidate.weekday() not in self.closed_weekdays and candidate not in self.holidays:
                return candidate
        raise ValueError("the calendar has no open day")


@dataclass(frozen=True)
class Policy:
    """What an entity decides for all its accounts. min_account_amount is in main units of the entity's currency."""

    min_contact_gap_days: int = MIN_CONTACT_GAP_DAYS
    min_account_amount: Decimal = Decimal(1)
    nets_credits: bool = False
    # Open debit items below are left alone; minor units of the entity's currency, 0: none is.
    ignore_item_below_minor: int = 0


@dataclass(frozen=True)
class AccountState:
    """All that is known of one account. currency is the entity's."""

    currency: str
    items: Sequence[OpenItem]
    completed: Sequence[CompletedStep] = ()
    last_contact_on: date | None = None
    paused_until: date | None = None
    pause_reason: str = ""
    # A pause was ended, by a person or by its date, after the last step: the next action is to be confirmed.
    resumed_on: date | None = None
    move: Move | None = None
    broken_promises: Sequence[BrokenPromise] = ()
    # Number and name of the account through which it is collected; empty: by itself.
    master: str = ""


@dataclass(frozen=True)
class ReasonInput:
    """One input of a decision; value in the wire's form."""

    name: str
    label: str
    value: str


@dataclass(frozen=True)
class Reason:
    """Why something is so: a stable word, a sentence in both languages, and all that went into it."""

    code: str
    text: str
    text_fr: str
    inputs: tuple[ReasonInput, ...] = field(default=())


@dataclass(frozen=True)
class PlannedAction:
    """The one action of an account. due_on in the past or today means that it is owed now."""

    step: Step
    step_number: int
    mode: Mode
    due_on: date
    leader: OpenItem
    item_ids: tuple[str, ...]


@dataclass(frozen=True)
class Decision:
    """An action or none, and why. Sums by currency, never across."""

    action: PlannedAction | None
    reason: Reason
    overdue_minor: dict[str, int]
    collectable_minor: dict[str, int]
