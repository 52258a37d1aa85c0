"""The decision: (account, scenario, calendar, business date) -> the one action of the account, or none, and why.

The same function answers events, sweeps, requests and dry runs. Nothing stored as a next date takes part in it.
"""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal

from kit.money import exponent
from scenario.domain import texts
from scenario.domain.model import (
    ITEMS_PER_ACTION_MAX,
    AccountState,
    Anchor,
    BrokenPromise,
    Calendar,
    Channel,
    CompletedStep,
    Decision,
    Mode,
    OpenItem,
    PlannedAction,
    Policy,
    Reason,
    ReasonInput,
    Scenario,
    Step,
)

_DEFAULT_POLICY = Policy()


def decide(
    state: AccountState, scenario: Scenario, calendar: Calendar, today: date, policy: Policy = _DEFAULT_POLICY
) -> Decision:
    """The one action owed or planned for an account on a business date, or none, with its reason.

    Args: state, everything known of the account, items in any order and any currencies; today, the business date where
        the creditor is (an item due today is not late).
    Returns: a Decision; its action's due_on is in the past or today when the action is owed now. Sums are by currency.
    Source: domain rules 3.2 (leader, step by age, gaps), decisions 11 and 12 (pure function; a step completes only by a
        confirmed send, a done task or a skip with a reason).
    """
    chased = [item for item in state.items if item.is_chased]
    overdue_minor = _sums((i.currency, i.open_minor) for i in chased if _is_late(i, today))
    large = [item for item in chased if not _is_ignored(item, state.currency, policy)]
    free = [item for item in large if item.due_on is not None and item.collectable_minor > 0]
    collectable_minor = _sums((i.currency, i.collectable_minor) for i in free if _is_late(i, today))

    def none(code: str, text: str, text_fr: str, *inputs: ReasonInput) -> Decision:
        given = (*_common_inputs(state, scenario, today, overdue_minor, collectable_minor, policy), *inputs)
        return Decision(None, Reason(code, text, text_fr, given), overdue_minor, collectable_minor)

    if state.master:
        return none(
            "GROUPED",
            f"Collected through {state.master}",
            f"Relancé à travers {state.master}",
            ReasonInput("master", "Master account", state.master),
        )
    if state.paused_until is not None and today <= state.paused_until:
        because = f" ({state.pause_reason})" if state.pause_reason else ""
        return none(
            "PAUSED",
            f"Paused until {texts.day_en(state.paused_until, today)}{because}",
            f"En pause jusqu'au {texts.day_fr(state.paused_until, today)}{because}",
            ReasonInput("paused_until", "Paused until", state.paused_until.isoformat()),
        )
    if not scenario.steps:
        return none("NO_STEPS", "The scenario has no steps", "Le scénario n'a aucune étape")
    if not chased:
        return none("NOTHING_OPEN", "Nothing to pay is open", "Rien n'est à payer")
    if all(item.due_on is None for item in chased):
        return none(
            "NO_DUE_DATE", "No open item has a due date", "Aucune ligne ouverte n'a d'échéance",
            ReasonInput("item_count", "Items without due date", str(len(chased))),
        )  # fmt: skip
    if not large:
        below = policy.ignore_item_below_minor
        return none(
            "ITEMS_TOO_SMALL",
            f"Every open item is below {texts.amount_en(below, state.currency)}",
            f"Chaque ligne ouverte est inférieure à {texts.amount_fr(below, state.currency)}",
        )
    if not free:
        return none(
            "ALL_HELD",
            "All that is open is under a hold",
            "Tout l'encours est suspendu",
            ReasonInput("held_items", "Items held", str(sum(1 for item in chased if item.held_minor > 0))),
        )
    # A currency in which the customer has more to receive than to pay is left alone.
    balance_minor = _sums((item.currency, item.open_minor) for item in state.items)
    owing = [item for item in free if balance_minor[item.currency] > 0]
    if not owing:
        return none(
            "CREDIT_BALANCE",
            f"Credits cover what is open: balance {texts.amounts_en(balance_minor)}",
            f"Les avoirs couvrent l'encours{texts.NO_BREAK_SPACE}: solde {texts.amounts_fr(balance_minor)}",
            ReasonInput("balance", "Balance", texts.amounts_en(balance_minor)),
        )
    owing = _above_minimum(state, owing, balance_minor, today, policy)
    if not owing:
        minimum_minor = _minimum_minor(state.currency, policy)
        return none(
            "BELOW_MINIMUM",
            f"Collectable overdue is below {texts.amount_en(minimum_minor, state.currency)}",
            f"L'échu exigible est inférieur à {texts.amount_fr(minimum_minor, state.currency)}",
            ReasonInput("min_account_minor", "Minimum", texts.amount_en(minimum_minor, state.currency)),
        )

    # item_id breaks ties, so that the same input always gives the same result.
    leader = min(owing, key=lambda item: (item.due_on, -item.collectable_minor, item.item_id))
    way = _Way(state, scenario, calendar, today, policy, leader, owing)
    picked = way.pick()
    if picked is None:
        return none(
            "SCENARIO_FINISHED",
            f"{leader.number}: every step of the scenario is done",
            f"{leader.number}{texts.NO_BREAK_SPACE}: toutes les étapes du scénario sont faites",
            *way.inputs(),
        )
    index, due_on = picked
    step = scenario.steps[index]
    action = PlannedAction(
        step=step,
        step_number=index + 1,
        mode=way.mode_of(step),
        due_on=due_on,
        leader=leader,
        item_ids=tuple(item.item_id for item in way.listed(step))[:ITEMS_PER_ACTION_MAX],
    )
    reason = way.reason(action, _common_inputs(state, scenario, today, overdue_minor, collectable_minor, policy))
    return Decision(action, reason, overdue_minor, collectable_minor)


def projected_days(decision: Decision, scenario: Scenario, calendar: Calendar) -> dict[str, date]:
    """When the steps after the decided one would come if each is done on its day; by step key, for display only.

    A step counted from the one before has no day until that one is done, and neither have those behind it.
    """
    if decision.action is None:
        return {}
    action, days = decision.action, {}
    before = action
    last_on, last_offset = before.due_on, before.step.offset_days
    for step in scenario.steps[action.step_number :]:
        anchored_on = _anchored_on(step, action.leader)
        if anchored_on is None:
            break
        gap = timedelta(days=max(step.offset_days - last_offset, 0)) if last_offset >= 0 else timedelta(0)
        last_on, last_offset = calendar.next_open(max(anchored_on, last_on + gap)), step.offset_days
        days[step.key] = last_on
    return days


class _Way:
    """Where one leader is on its way through a scenario."""

    def __init__(
        self,
        state: AccountState,
        scenario: Scenario,
        calendar: Calendar,
        today: date,
        policy: Policy,
        leader: OpenItem,
        owing: Sequence[OpenItem],
    ) -> None:
        self.state, self.scenario, self.calendar, self.today, self.policy = state, scenario, calendar, today, policy
        self.leader, self.owing = leader, owing
        assert leader.due_on is not None
        self.leader_due_on: date = leader.due_on
        self.is_late = _is_late(leader, today)
        covering = [done for done in state.completed if leader.item_id in done.item_ids]
        # The step reached for this leader and when; -1 when no step has been done for it.
        self.last = max(covering, key=lambda done: (self._index(done), done.on), default=None)
        self.level = self._index(self.last) if self.last is not None else -1
        self.first_index = max(self.level, self._level_by_coverage()) + 1
        self.broken = self._newest_broken_promise()
        # Whether this item itself has had a word from us since it became late.
        self.reminded = any(
            done.reached_customer and not done.skipped and done.on > self.leader_due_on for done in covering
        )

    def _index(self, done: CompletedStep) -> int:
        """The position of a done step in this version; of the last one not behind it when it is not there any more."""
        index = self.scenario.index_of(done.step_key)
        if index is not None:
            return index
        return max(
            (
                i
                for i, step in enumerate(self.scenario.steps)
                if step.anchor is not Anchor.PREVIOUS_ACTION and step.offset_days <= done.offset_days
            ),
            default=-1,
        )

    def _level_by_coverage(self) -> int:
        """A new leader does not send the account back to the start when most of its debt has been written about: it
        goes on one step below the level reached. -1 when less than half is covered."""
        total_minor, covered_minor = 0, 0
        reached = -1
        for item in self.owing:
            # One currency: the leader's. Sums across currencies mean nothing.
            if item.currency != self.leader.currency or not _is_late(item, self.today):
                continue
            total_minor += item.collectable_minor
            levels = [self._index(done) for done in self.state.completed if item.item_id in done.item_ids]
            if levels:
                covered_minor += item.collectable_minor
                reached = max(reached, *levels)
        if total_minor and 2 * covered_minor > total_minor:
            return max(reached - 2, -1)
        return -1

    def _newest_broken_promise(self) -> BrokenPromise | None:
        listed = {item.item_id for item in self.owing}
        fresh = [
            promise
            for promise in self.state.broken_promises
            if promise.item_ids & listed and (self.last is None or promise.broken_on > self.last.on)
        ]
        return max(fresh, key=lambda promise: (promise.broken_on, promise.promised_on), default=None)

    def day_of(self, index: int) -> date | None:
        """The day of a step for this leader; None when it cannot come (yet)."""
        step = self.scenario.steps[index]
        anchored_on = _anchored_on(step, self.leader)
        if anchored_on is None:
            # Counted from the step before, which must have been done for this very leader.
            if self.last is None or self.level != index - 1:
                return None
            anchored_on = self.last.on + timedelta(days=step.offset_days)
        elif self.last is not None and self.last.offset_days >= 0:
            # The interval between two steps is kept when the first one came late.
            anchored_on = max(
                anchored_on, self.last.on + timedelta(days=max(step.offset_days - self.last.offset_days, 0))
            )
        day = self.calendar.next_open(self._after_gap(step, anchored_on))
        if step.is_before_due and max(day, self.today) > self.leader_due_on:
            return None
        return day

    def _after_gap(self, step: Step, day: date) -> date:
        if self.state.last_contact_on is None or not step.channel.reaches_customer:
            return day
        return max(day, self.state.last_contact_on + timedelta(days=self.policy.min_contact_gap_days))

    def pick(self) -> tuple[int, date] | None:
        """The step and its day: of those whose day has come the latest, so that what was missed is not replayed; else
        the first one ahead. None when no step is left."""
        days = [
            (index, day)
            for index in range(self.first_index, len(self.scenario.steps))
            if self._is_large_enough(self.scenario.steps[index]) and (day := self.day_of(index)) is not None
        ]
        if not days:
            return None
        moved = self._moved()
        if moved is not None:
            return moved
        first = days[0]
        come = [(index, day) for index, day in days if day <= self.today and self._may_jump(first[0], index)]
        if come:
            return come[-1]
        if self.broken is not None and self.is_late and not self.scenario.steps[first[0]].is_formal:
            # A broken word is a reason to act at once, with the step that is next anyway.
            at_once = self.calendar.next_open(self._after_gap(self.scenario.steps[first[0]], self.broken.broken_on))
            return first[0], min(first[1], at_once)
        return first

    def _moved(self) -> tuple[int, date] | None:
        move = self.state.move
        if move is None or move.leader_item_id != self.leader.item_id:
            return None
        index = self.scenario.index_of(move.step_key)
        return (index, move.on) if index is not None and index > self.level else None

    def _may_jump(self, first: int, index: int) -> bool:
        """Whether a step may be taken although some before it were not done."""
        if index == first:
            return True
        steps = self.scenario.steps
        if any(step.is_formal for step in steps[first:index]):
            return False
        if steps[index].is_formal:
            return self.reminded
        # The first word on a debt goes to the customer, not to a colleague.
        return self.level >= 0 or steps[index].channel.reaches_customer

    def _is_large_enough(self, step: Step) -> bool:
        if step.min_amount_minor <= 0:
            return True
        listed = self.listed(step)
        if any(item.currency != self.state.currency for item in listed):
            return True
        return sum(item.collectable_minor for item in listed) >= step.min_amount_minor

    def listed(self, step: Step) -> list[OpenItem]:
        """What the step is about, oldest due date first: all collectable overdue items, or before the due date those
        due with the leader."""
        until = self.leader_due_on if step.is_before_due or not self.is_late else self.today - timedelta(days=1)
        chosen = [item for item in self.owing if item.due_on is not None and item.due_on <= until]
        return sorted(chosen, key=lambda item: (item.due_on, item.number, item.item_id))

    def mode_of(self, step: Step) -> Mode:
        """Nothing leaves by itself to somebody who was never written to, or right after a pause."""
        if step.mode is not Mode.AUTOMATIC:
            return step.mode
        resumed_on = self.state.resumed_on
        just_resumed = resumed_on is not None and all(done.on < resumed_on for done in self.state.completed)
        return Mode.TO_CONFIRM if self.state.last_contact_on is None or just_resumed else Mode.AUTOMATIC

    def inputs(self) -> tuple[ReasonInput, ...]:
        """What is known of the leader and its way."""
        steps = self.scenario.steps
        inputs = [
            ReasonInput("leader_number", "Leader", self.leader.number),
            ReasonInput("leader_due_on", "Due date of the leader", self.leader_due_on.isoformat()),
            ReasonInput("leader_days_late", "Days late", str((self.today - self.leader_due_on).days)),
            ReasonInput("level_reached", "Step reached", steps[self.level].key if self.level >= 0 else ""),
        ]
        if self.last is not None:
            inputs.append(ReasonInput("last_step_on", "Last step done on", self.last.on.isoformat()))
        if self.state.last_contact_on is not None:
            inputs.append(ReasonInput("last_contact_on", "Last contact", self.state.last_contact_on.isoformat()))
            inputs.append(
                ReasonInput("min_contact_gap_days", "Days between contacts", str(self.policy.min_contact_gap_days))
            )
        return tuple(inputs)

    def reason(self, action: PlannedAction, common: Iterable[ReasonInput]) -> Reason:
        """Why this step on this day."""
        today, step = self.today, action.step
        days_late = (today - self.leader_due_on).days
        number = self.leader.number
        if step.anchor is Anchor.PREVIOUS_ACTION and self.last is not None:
            code = "AFTER_PREVIOUS_STEP"
            last_en, last_fr = texts.day_en(self.last.on, today), texts.day_fr(self.last.on, today)
            text = f"The step before was done on {last_en}; step due {step.offset_days} d later"
            text_fr = f"Étape précédente faite le {last_fr} ; étape prévue {step.offset_days} j après"
        else:
            is_issue = step.anchor is Anchor.LEADER_ISSUE
            at, at_fr = texts.offset_en(step.offset_days), texts.offset_fr(step.offset_days)
            if is_issue:
                at, at_fr = f"{at} from the issue date", f"{at_fr} de l'émission"
            if days_late > 0:
                code = "LEADER_LATE"
                text, text_fr = f"{number} is {days_late} d late", f"{number} a {days_late} j de retard"
            elif days_late == 0:
                code = "LEADER_DUE_TODAY"
                text, text_fr = f"{number} is due today", f"{number} échoit aujourd'hui"
            else:
                code = "LEADER_DUE_SOON"
                text = f"{number} is due on {texts.day_en(self.leader_due_on, today)}"
                text_fr = f"{number} échoit le {texts.day_fr(self.leader_due_on, today)}"
            text, text_fr = f"{text}; step due at {at}", f"{text_fr} ; étape prévue à {at_fr}"
        if action.due_on > today:
            text += f", on {texts.day_en(action.due_on, today)}"
            text_fr += f", le {texts.day_fr(action.due_on, today)}"
        inputs = [*common, *self.inputs()]
        inputs.append(ReasonInput("step_offset_days", "Days of the step", str(step.offset_days)))
        inputs.append(ReasonInput("item_count", "Items listed", str(len(action.item_ids))))
        if self._moved() is not None:
            code = "MOVED_BY_PERSON"
            text = f"Moved to {texts.day_en(action.due_on, today)} by a person; {text.split(', on ')[0]}"
            text_fr = f"Déplacée au {texts.day_fr(action.due_on, today)} ; {text_fr.split(', le ')[0]}"
        elif self.broken is not None:
            code = "PROMISE_BROKEN"
            sentence, sentence_fr = promise_sentences(self.broken, today)
            text, text_fr = f"{sentence}. {text}", f"{sentence_fr}. {text_fr}"
            inputs.append(ReasonInput("promised_on", "Promised for", self.broken.promised_on.isoformat()))
            inputs.append(
                ReasonInput("promised", "Promised", texts.amount_en(self.broken.promised_minor, self.broken.currency))
            )
            inputs.append(
                ReasonInput("received", "Came in", texts.amount_en(self.broken.received_minor, self.broken.currency))
            )
        return Reason(code, text, text_fr.replace(" ;", f"{texts.NO_BREAK_SPACE};"), tuple(inputs))


def promise_sentences(promise: BrokenPromise, today: date) -> tuple[str, str]:
    """Promised 20,000.00 EUR for 10 Sep; 12,000.00 EUR came in - in English and French."""
    return (
        f"Promised {texts.amount_en(promise.promised_minor, promise.currency)} for"
        f" {texts.day_en(promise.promised_on, today)};"
        f" {texts.amount_en(promise.received_minor, promise.currency)} came in",
        f"Promis {texts.amount_fr(promise.promised_minor, promise.currency)} pour le"
        f" {texts.day_fr(promise.promised_on, today)} ;"
        f" reçu {texts.amount_fr(promise.received_minor, promise.currency)}",
    )


def is_contact(channel: Channel, skipped: bool) -> bool:
    """Whether a completed step was a contact with the customer."""
    return channel.reaches_customer and not skipped


def _is_late(item: OpenItem, today: date) -> bool:
    return item.due_on is not None and item.due_on < today


def _anchored_on(step: Step, leader: OpenItem) -> date | None:
    """The day of a step by the leader's dates; None when it counts from the step before."""
    if step.anchor is Anchor.PREVIOUS_ACTION:
        return None
    anchor_on = leader.issue_on if step.anchor is Anchor.LEADER_ISSUE else leader.due_on
    assert anchor_on is not None
    return anchor_on + timedelta(days=step.offset_days)


def _sums(amounts: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums_minor: dict[str, int] = {}
    for currency, minor in amounts:
        sums_minor[currency] = sums_minor.get(currency, 0) + minor
    return sums_minor


def _is_ignored(item: OpenItem, currency: str, policy: Policy) -> bool:
    """Whether an item is too small to be chased; the limit is in the entity's currency, others are not measured by it."""
    return item.currency == currency and item.open_minor < policy.ignore_item_below_minor


def _minimum_minor(currency: str, policy: Policy) -> int:
    return int(policy.min_account_amount.scaleb(exponent(currency)).to_integral_value())


def _above_minimum(
    state: AccountState, owing: list[OpenItem], balance_minor: dict[str, int], today: date, policy: Policy
) -> list[OpenItem]:
    """The items that may lead. Late rests below the minimum do not, neither alone nor before something larger that is
    not due yet. The minimum is in the entity's currency; other currencies are never measured by it."""
    minimum_minor = _minimum_minor(state.currency, policy)
    if policy.min_account_amount <= Decimal(0):
        return owing
    kept = []
    for is_late in (True, False):
        group = [item for item in owing if _is_late(item, today) is is_late]
        own_minor = sum(item.collectable_minor for item in group if item.currency == state.currency)
        if policy.nets_credits and is_late:
            own_minor = min(own_minor, balance_minor.get(state.currency, 0))
        kept += [item for item in group if item.currency != state.currency or own_minor >= minimum_minor]
    return kept


def _common_inputs(
    state: AccountState,
    scenario: Scenario,
    today: date,
    overdue_minor: dict[str, int],
    collectable_minor: dict[str, int],
    policy: Policy,
) -> tuple[ReasonInput, ...]:
    rules = (
        (ReasonInput("ignore_item_below", "Items left out below", texts.amount_en(below, state.currency)),)
        if (below := policy.ignore_item_below_minor)
        else ()
    )
    return (
        *rules,
        ReasonInput("business_date", "Business date", today.isoformat()),
        ReasonInput("scenario", "Scenario", f"{scenario.name} v{scenario.version}"),
        ReasonInput("overdue", "Overdue", texts.amounts_en(overdue_minor)),
        ReasonInput("collectable_overdue", "Collectable overdue", texts.amounts_en(collectable_minor)),
        ReasonInput("open_items", "Open items", str(len(state.items))),
    )
