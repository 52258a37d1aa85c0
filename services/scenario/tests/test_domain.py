"""The rules, without a clock: whose turn it is and why, and what became of promises."""

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import Code
from kit.testing import refused
from scenario.domain.decision import decide, projected_days
from scenario.domain.defaults import default_scenarios
from scenario.domain.model import (
    AccountState,
    Anchor,
    BrokenPromise,
    Calendar,
    Channel,
    CompletedStep,
    Decision,
    Mode,
    Move,
    OpenItem,
    Policy,
    Scenario,
)
from scenario.domain.promise import PromiseLine, PromiseState, check_day, evaluate
from scenario.domain.texts import amount_en, amount_fr, day_en, day_fr

TENANT = "00000000-0000-7000-8000-000000000001"
STANDARD, KEY_ACCOUNT, SMALL, RISKY, EXPORT, PUBLIC = default_scenarios(TENANT)
EVERY_DAY = Calendar(closed_weekdays=frozenset())
DUE = date(2026, 3, 2)


def item(item_id: str = "i1", due_on: date | None = DUE, open_minor: int = 100_00, **values) -> OpenItem:
    given_values = {
        "number": f"FA-{item_id}", "kind": "INVOICE", "currency": "EUR", "issue_on": date(2026, 1, 31), **values,
    }  # fmt: skip
    return OpenItem(item_id=item_id, due_on=due_on, open_minor=open_minor, **given_values)


def done(key: str, on: date, *item_ids: str, scenario: Scenario = STANDARD, skipped: bool = False) -> CompletedStep:
    step = scenario.steps[scenario.index_of(key)]
    return CompletedStep(
        key, step.offset_days, on, frozenset(item_ids), step.channel.reaches_customer and not skipped, skipped
    )


def decided(
    items, on: date, completed=(), scenario: Scenario = STANDARD, calendar=EVERY_DAY, policy=Policy(), **state
) -> Decision:
    contacts = [entry.on for entry in completed if entry.reached_customer]
    state = {"last_contact_on": max(contacts, default=None), **state}
    return decide(AccountState("EUR", items, completed, **state), scenario, calendar, on, policy)


def step_and_day(decision: Decision) -> tuple[str, date] | None:
    return (decision.action.step.key, decision.action.due_on) if decision.action else None


def days(n: int) -> timedelta:
    return timedelta(days=n)


# ---- first contact: the step by age ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "key", "day"),
    [
        (-30, "pre-due", -7),
        (-7, "pre-due", -7),
        (-1, "pre-due", -7),
        (0, "pre-due", -7),  # Due today is not late: the step before the due date still says the truth.
        (1, "reminder-1", 3),  # Late by a day: the pre-due text would be false, the next step is planned.
        (2, "reminder-1", 3),
        (3, "reminder-1", 3),
        (9, "reminder-1", 3),
        (10, "call", 10),
        (17, "call", 10),  # The first word goes to the customer, not to a colleague.
        (25, "reminder-2", 25),
        (40, "reminder-2", 25),  # Never straight to a formal notice.
        (400, "reminder-2", 25),
    ],
)
def test_first_contact_takes_the_step_by_age(age, key, day):
    decision = decided([item()], DUE + days(age))
    assert step_and_day(decision) == (key, DUE + days(day))


@pytest.mark.parametrize("scenario", default_scenarios(TENANT), ids=lambda scenario: scenario.name)
@given(age=st.integers(-60, 900))
def test_nobody_begins_with_a_formal_notice_or_a_colleague(scenario, age):
    decision = decided([item()], DUE + days(age), scenario=scenario)
    assert decision.action is not None
    assert not decision.action.step.is_formal
    assert decision.action.step.channel not in (Channel.INTERNAL, Channel.TASK)


def test_the_reason_says_leader_days_and_step_in_both_languages():
    reason = decided([item()], DUE + days(34)).reason
    assert reason.code == "LEADER_LATE"
    assert reason.text == "FA-i1 is 34 d late; step due at D+25"
    assert reason.text_fr == "FA-i1 a 34 j de retard\u00a0; étape prévue à J+25"
    inputs = {given.name: given.value for given in reason.inputs}
    assert inputs["leader_due_on"] == "2026-03-02"
    assert inputs["leader_days_late"] == "34"
    assert inputs["business_date"] == "2026-04-05"
    assert inputs["scenario"] == "Standard v1"
    assert inputs["collectable_overdue"] == "100.00 EUR"


# ---- the leader ------------------------------------------------------------------------------------------------------


def test_the_leader_has_the_earliest_due_date_and_a_tie_goes_to_the_larger_amount():
    items = [item("late", DUE + days(1), 900_00), item("small", DUE, 10_00), item("large", DUE, 20_00)]
    decision = decided(items, DUE + days(5))
    assert decision.action.leader.item_id == "large"
    assert decision.action.item_ids == ("large", "small", "late")


def test_the_decision_does_not_depend_on_the_order_of_items():
    items = [item(name, DUE) for name in "abc"]
    leaders = {decided(order, DUE + days(5)).action.leader.item_id for order in (items, items[::-1])}
    assert leaders == {"a"}


@pytest.mark.parametrize("kind", ["CREDIT_NOTE", "PAYMENT", "DOWN_PAYMENT", "OTHER_CREDIT", "IN_TRANSIT"])
def test_credits_and_what_is_on_its_way_never_lead(kind):
    other = item("credit", DUE - days(90), -10_00 if kind != "IN_TRANSIT" else 10_00, kind=kind)
    assert decided([other, item()], DUE + days(3)).action.leader.item_id == "i1"


def test_items_without_a_due_date_are_never_chased():
    assert decided([item(due_on=None)], DUE).reason.code == "NO_DUE_DATE"
    decision = decided([item("none", None), item()], DUE + days(5))
    assert decision.action.item_ids == ("i1",)


def test_held_items_do_not_lead_and_the_rest_of_a_partly_held_one_does():
    held = item("held", DUE - days(30), 100_00, held_minor=100_00)
    partly = item("partly", DUE, 100_00, held_minor=40_00)
    decision = decided([held, partly], DUE + days(3))
    assert decision.action.leader.item_id == "partly"
    assert decision.collectable_minor == {"EUR": 60_00}
    assert decision.overdue_minor == {"EUR": 200_00}
    assert decided([held], DUE).reason.code == "ALL_HELD"


def test_all_collectable_overdue_items_are_listed_and_before_the_due_date_those_due_with_the_leader():
    items = [item("a", DUE), item("b", DUE + days(4)), item("c", DUE + days(5)), item("d", DUE + days(30))]
    assert decided(items, DUE + days(5)).action.item_ids == ("a", "b")
    before = decided([item("a", DUE), item("a2", DUE), item("b", DUE + days(4))], DUE - days(6))
    assert before.action.item_ids == ("a", "a2")
    assert before.collectable_minor == {}


# ---- none, with a reason ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "state", "code"),
    [
        ([], {}, "NOTHING_OPEN"),
        ([item("c", DUE, -5_00, kind="CREDIT_NOTE")], {}, "NOTHING_OPEN"),
        ([item(), item("c", DUE, -100_00, kind="PAYMENT")], {}, "CREDIT_BALANCE"),
        ([item(), item("c", DUE, -500_00, kind="CREDIT_NOTE")], {}, "CREDIT_BALANCE"),
        ([item(open_minor=99)], {}, "BELOW_MINIMUM"),
        ([item()], {"paused_until": DUE + days(10), "pause_reason": "holiday"}, "PAUSED"),
    ],
)
def test_no_action_says_why(items, state, code):
    decision = decided(items, DUE + days(10), **state)
    assert decision.action is None
    assert decision.reason.code == code
    assert decision.reason.text
    assert decision.reason.text_fr
    assert decision.reason.inputs


def test_a_pause_ends_after_its_last_day_and_takes_the_step_by_age():
    state = {"paused_until": DUE + days(10)}
    reminder = [done("reminder-1", DUE + days(3), "i1")]
    assert decided([item()], DUE + days(10), reminder, **state).action is None
    assert step_and_day(decided([item()], DUE + days(26), reminder, **state)) == ("reminder-2", DUE + days(25))


def test_a_late_rest_below_the_minimum_does_not_stand_before_a_larger_item():
    items = [item("rest", DUE - days(300), 5), item("real", DUE + days(5), 1_000_00)]
    assert decided(items, DUE).action.leader.item_id == "real"


def test_the_minimum_measures_the_entity_currency_only():
    yen = item("yen", DUE, 5, currency="JPY")
    assert decided([yen], DUE + days(3)).action is not None
    assert decided([item()], DUE + days(3), policy=Policy(min_account_amount=Decimal("100.01"))).action is None


def test_currencies_are_never_added_and_a_credit_in_one_does_not_cover_the_other():
    items = [item("usd", DUE, 50_00, currency="USD"), item("eur", DUE), item("c", DUE, -200_00, kind="PAYMENT")]
    decision = decided(items, DUE + days(3))
    assert decision.action.item_ids == ("usd",)
    assert decision.overdue_minor == {"USD": 50_00, "EUR": 100_00}


# ---- steps are neither skipped nor repeated --------------------------------------------------------------------------


def test_three_invoices_paying_the_oldest_two_skips_and_repeats_no_step():
    items = [item("a", DUE), item("b", DUE + days(1)), item("c", DUE + days(2))]
    completed = [done("reminder-1", DUE + days(3), "a", "b", "c")]
    assert step_and_day(decided(items, DUE + days(4), completed)) == ("call", DUE + days(10))
    # The third invoice leads now: its own call comes at its own D+10, and the reminder is not sent again.
    after = decided(items[2:], DUE + days(5), completed)
    assert step_and_day(after) == ("call", DUE + days(12))
    for age in range(3, 60):
        on = DUE + days(age)
        assert decided(items[2:], on, completed).action.step.key != "reminder-1"


def test_engine_down_for_40_days_gives_exactly_one_next_step():
    completed = [done("reminder-1", DUE + days(3), "i1")]
    after_outage = DUE + days(43)
    first = decided([item()], after_outage, completed)
    assert first.action.due_on <= after_outage
    completed.append(done(first.action.step.key, after_outage, "i1"))
    second = decided([item()], after_outage, completed)
    assert second.action is None or second.action.due_on >= after_outage + days(4)


@given(
    first_seen=st.integers(-20, 200),
    outages=st.lists(st.integers(1, 90), min_size=1, max_size=12),
    index=st.integers(0, 5),
)
def test_steps_rise_and_contacts_keep_their_distance_whatever_the_outages(first_seen, outages, index):
    scenario = default_scenarios(TENANT)[index]
    on, completed = DUE + days(first_seen), []
    for outage in outages:
        decision = decided([item()], on, completed, scenario=scenario)
        if decision.action is not None and decision.action.due_on <= on:
            completed.append(done(decision.action.step.key, on, "i1", scenario=scenario))
        on += days(outage)
    numbers = [scenario.index_of(entry.step_key) for entry in completed]
    assert numbers == sorted(set(numbers))
    contacts = [entry.on for entry in completed if entry.reached_customer]
    assert all((after - before).days >= 4 for before, after in pairwise(contacts))


def test_a_step_done_late_pushes_the_next_one_by_the_interval_between_them():
    completed = [done("reminder-1", DUE + days(20), "i1")]
    assert step_and_day(decided([item()], DUE + days(20), completed)) == ("call", DUE + days(27))


def test_contacts_of_any_kind_keep_four_days_between_them():
    decision = decided([item()], DUE + days(3), last_contact_on=DUE + days(2))
    assert step_and_day(decision) == ("reminder-1", DUE + days(6))


def test_a_formal_notice_comes_only_after_a_reminder_about_this_very_item():
    reminded = [done("reminder-1", DUE + days(3), "i1")]
    assert step_and_day(decided([item()], DUE + days(50), reminded)) == ("formal-notice", DUE + days(40))
    only_before_due = [done("pre-due", DUE - days(7), "i1")]
    assert decided([item()], DUE + days(50), only_before_due).action.step.key == "reminder-2"


def test_nothing_jumps_over_a_formal_notice():
    far = Scenario("s", "S", "S", 1, True, False, (*STANDARD.steps[:6], STANDARD.steps[1]))
    assert decided([item()], DUE + days(500), scenario=far).action.step.key != "formal-notice"
    assert decided([item()], DUE + days(500), scenario=far).action.step_number <= 5


def test_a_step_counted_from_the_one_before_waits_for_it():
    notice = [done("reminder-2", DUE + days(25), "i1"), done("formal-notice", DUE + days(41), "i1")]
    decision = decided([item()], DUE + days(42), notice)
    assert step_and_day(decision) == ("litigation", DUE + days(51))
    assert decision.reason.code == "AFTER_PREVIOUS_STEP"
    assert decision.action.step.anchor is Anchor.PREVIOUS_ACTION


def test_after_the_last_step_there_is_none_and_it_says_so():
    finished = [done("litigation", DUE + days(60), "i1")]
    assert decided([item()], DUE + days(90), finished).reason.code == "SCENARIO_FINISHED"


def test_a_new_leader_goes_on_near_the_level_when_most_of_the_debt_was_written_about():
    completed = [done("reminder-2", DUE + days(25), "old")]
    items = [item("new", DUE - days(1), 10_00), item("old", DUE, 1_000_00)]
    on = DUE + days(27)
    assert decided(items, on, completed).action.step.key in ("internal", "reminder-2")
    # With most of the debt never written about, it starts by the age of the new leader.
    items = [item("new", DUE + days(20), 10_000_00), item("newer", DUE + days(21), 1_000_00)]
    assert step_and_day(decided(items, DUE + days(29), completed)) == ("reminder-1", DUE + days(29))


def test_a_skipped_step_is_not_offered_again_and_is_no_contact():
    completed = [done("reminder-1", DUE + days(3), "i1", skipped=True)]
    assert step_and_day(decided([item()], DUE + days(4), completed)) == ("call", DUE + days(10))


def test_an_account_goes_on_by_step_key_in_another_scenario():
    completed = [done("reminder-1", DUE + days(3), "i1")]
    assert decided([item()], DUE + days(16), completed, scenario=EXPORT).action.step.key == "call"
    # A key the new scenario does not know is placed by its day: nothing before it is repeated.
    completed = [done("internal", DUE + days(17), "i1")]
    assert decided([item()], DUE + days(18), completed, scenario=EXPORT).action.step.key == "reminder-2"


# ---- modes, calendar, moves ------------------------------------------------------------------------------------------


def test_nothing_leaves_by_itself_to_somebody_never_written_to_or_after_a_pause():
    assert decided([item()], DUE + days(3), scenario=SMALL).action.mode is Mode.TO_CONFIRM
    completed = [done("reminder-1", DUE + days(3), "i1", scenario=SMALL)]
    assert decided([item()], DUE + days(12), completed, scenario=SMALL).action.mode is Mode.AUTOMATIC
    resumed = decided([item()], DUE + days(12), completed, scenario=SMALL, resumed_on=DUE + days(11))
    assert resumed.action.mode is Mode.TO_CONFIRM


def test_a_day_that_is_closed_moves_to_the_next_open_one():
    saturday = date(2026, 3, 7)
    calendar = Calendar(holidays=frozenset({date(2026, 3, 9)}))
    decision = decided([item(due_on=saturday - days(3))], saturday, calendar=calendar)
    assert step_and_day(decision) == ("reminder-1", date(2026, 3, 10))
    with pytest.raises(ValueError, match="no open day"):
        Calendar(closed_weekdays=frozenset(range(7))).next_open(saturday)


@pytest.mark.parametrize("due_on", [date(2024, 2, 29), date(2026, 3, 29), date(2026, 12, 31), date(2026, 10, 25)])
def test_days_are_civil_days_over_month_ends_leap_days_and_clock_changes(due_on):
    assert decided([item(due_on=due_on)], due_on).action.step.key == "pre-due"
    assert step_and_day(decided([item(due_on=due_on)], due_on + days(1))) == ("reminder-1", due_on + days(3))
    assert decided([item(due_on=due_on)], due_on + days(3)).action.due_on == due_on + days(3)


def test_a_step_moved_by_a_person_keeps_its_day_until_the_leader_changes():
    move = Move("reminder-1", "i1", DUE + days(15))
    decision = decided([item()], DUE + days(12), move=move)
    assert step_and_day(decision) == ("reminder-1", DUE + days(15))
    assert decision.reason.code == "MOVED_BY_PERSON"
    assert decided([item("i2")], DUE + days(12), move=move).action.step.key == "call"


def test_the_steps_ahead_are_projected_until_one_that_counts_from_its_predecessor():
    decision = decided([item()], DUE)
    ahead = projected_days(decision, STANDARD, EVERY_DAY)
    assert ahead["reminder-1"] == DUE + days(3)
    assert ahead["formal-notice"] == DUE + days(40)
    assert "litigation" not in ahead


# ---- shipped scenarios -----------------------------------------------------------------------------------------------


def test_six_scenarios_are_shipped_and_standard_is_the_default():
    shipped = default_scenarios(TENANT)
    assert [scenario.name for scenario in shipped if scenario.is_default] == ["Standard"]
    assert [len(scenario.steps) for scenario in shipped] == [7, 7, 7, 7 - 1, 7, 6]
    for scenario in shipped:
        keys = [step.key for step in scenario.steps]
        assert len(keys) == len(set(keys))
        assert all(step.name and step.name_fr and step.why and step.why_fr for step in scenario.steps)
        for step in scenario.steps:
            assert bool(step.template_key) or step.channel is not Channel.EMAIL
            assert not step.is_formal or step.mode is Mode.MANUAL
    assert default_scenarios(TENANT) == shipped
    assert default_scenarios("other")[0].scenario_id != shipped[0].scenario_id


# ---- promises --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opens", "on", "state"),
    [
        ([100, 50], 0, PromiseState.OPEN),
        ([100, 50], 3, PromiseState.OPEN),  # The last day of the tolerance still counts.
        ([100, 50], 4, PromiseState.BROKEN),
        ([0, 50], 3, PromiseState.OPEN),
        ([0, 50], 4, PromiseState.PARTLY_KEPT),
        ([99, 50], 4, PromiseState.PARTLY_KEPT),
        ([0, 0], -5, PromiseState.KEPT),
        ([0, 20], 4, PromiseState.KEPT),  # 30 were promised of the second item's 50.
        ([120, 50], 4, PromiseState.BROKEN),  # A payment taken back counts as none.
    ],
)
def test_a_promise_is_judged_by_what_is_open(opens, on, state):
    lines = [PromiseLine("a", "EUR", 100, 100, opens[0]), PromiseLine("b", "EUR", 30, 50, opens[1])]
    assert evaluate(lines, DUE, 3, DUE + days(on)) is state


def test_a_promise_is_neither_in_the_past_nor_too_far_ahead():
    check_day(DUE, DUE, False)
    check_day(DUE + days(30), DUE, False)
    check_day(DUE + days(31), DUE, True)
    with refused(Code.INVALID_ARGUMENT, "DATE_PAST"):
        check_day(DUE - days(1), DUE, True)
    with refused(Code.INVALID_ARGUMENT, "DATE_TOO_FAR"):
        check_day(DUE + days(31), DUE, False)


def test_a_broken_promise_asks_for_the_next_step_at_once_and_says_so():
    completed = [done("reminder-1", DUE + days(3), "i1")]
    broken = BrokenPromise(frozenset({"i1"}), date(2026, 3, 5), date(2026, 3, 9), "EUR", 20_000_00, 12_000_00)
    decision = decided([item(open_minor=8_000_00)], date(2026, 3, 9), completed, broken_promises=[broken])
    assert step_and_day(decision) == ("call", date(2026, 3, 9))
    assert decision.reason.code == "PROMISE_BROKEN"
    assert decision.reason.text.startswith("Promised 20,000.00 EUR for 5 Mar; 12,000.00 EUR came in")
    assert decision.reason.text_fr.startswith(
        "Promis 20\u00a0000,00\u00a0EUR pour le 5 mars\u00a0; reçu 12\u00a0000,00\u00a0EUR"
    )
    # Not before the customer has had four days, and not by way of a formal notice.
    recent = [done("reminder-2", date(2026, 3, 8), "i1")]
    assert decided([item()], date(2026, 3, 9), recent, broken_promises=[broken]).action.step.key == "formal-notice"
    assert decided(
        [item()], date(2026, 3, 9), recent, broken_promises=[broken]
    ).action.due_on > date(2026, 3, 12)  # fmt: skip


def test_sentences_write_days_and_amounts_as_each_language_does():
    assert amount_en(-1234567_89, "EUR") == "-1,234,567.89 EUR"
    assert amount_fr(1234_50, "EUR") == "1\u00a0234,50\u00a0EUR"
    assert amount_en(1234, "JPY") == "1,234 JPY"
    assert amount_en(-5, "EUR") == "-0.05 EUR"
    assert day_en(date(2026, 9, 10), DUE) == "10 Sep"
    assert day_fr(date(2025, 9, 10), DUE) == "10 sept. 2025"
