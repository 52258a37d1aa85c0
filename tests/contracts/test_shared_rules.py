"""Services share no code, so what two of them must know alike is written in each and compared here."""

import credit_risk.domain
import dispute.domain
import dispute.texts
import reporting.domain
import reporting.texts
import scenario.domain.defaults
from kit.ids import new_id


def test_aging_buckets_are_the_same_in_reporting_and_in_credit_risk():
    names = ("BUCKET_EDGES_DAYS", "BUCKET_LABELS", "NO_DUE_DATE")
    assert [getattr(credit_risk.domain, name) for name in names] == [getattr(reporting.domain, name) for name in names]
    assert len(reporting.domain.BUCKET_LABELS) == len(reporting.domain.BUCKET_EDGES_DAYS) + 1


def test_reporting_names_the_reasons_of_disputes_as_the_dispute_service_does():
    for reason in dispute.domain.REASONS:
        assert reporting.texts.CATALOG.say(reason.name, "fr") == reason.name_fr


def test_reporting_names_the_outcomes_of_disputes_as_the_dispute_service_does():
    for words in dispute.domain.OUTCOME_WORDS.values():
        assert reporting.texts.FRENCH[f"{words}: {{0}}"] == dispute.texts.FRENCH[f"{words}: {{0}}"]


def test_reporting_names_the_steps_of_the_shipped_scenarios_as_the_scenario_service_does():
    steps = [step for each in scenario.domain.defaults.default_scenarios(new_id()) for step in each.steps]
    assert len(steps) > 10
    for step in steps:
        assert reporting.texts.CATALOG.say(step.name, "fr") == step.name_fr
