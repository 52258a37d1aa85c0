"""Scenarios and their steps."""

import json
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from kit import context
from scenario.domain.defaults import default_scenarios
from scenario.domain.model import Anchor, Channel, Mode, Scenario, Step


def step_to_json(step: Step) -> dict[str, Any]:
    """A step as it is kept: all its fields are plain."""
    return dict(vars(step))


def step_from_json(kept: dict[str, Any]) -> Step:
    """A step as it was kept."""
    return Step(
        **{**kept, "channel": Channel(kept["channel"]), "mode": Mode(kept["mode"]), "anchor": Anchor(kept["anchor"])}
    )


def ensure_scenarios(session: Session) -> None:
    """Gives the current tenant the shipped scenarios when it has none."""
    if session.execute(text("SELECT EXISTS (SELECT FROM scenario)")).scalar_one():
        return
    tenant_id = context.current_tenant()
    rows = [
        {
            "tenant_id": tenant_id,
            "scenario_id": scenario.scenario_id,
            "version": scenario.version,
            "name": scenario.name,
            "name_fr": scenario.name_fr,
            "active": scenario.active,
            "is_default": scenario.is_default,
            "steps": [step_to_json(step) for step in scenario.steps],
        }
        for scenario in default_scenarios(tenant_id)
    ]
    session.execute(
        text(
            "INSERT INTO scenario (tenant_id, scenario_id, version, name, name_fr, active, is_default, steps)"
            " SELECT tenant_id, scenario_id, version, name, name_fr, active, is_default, steps"
            " FROM jsonb_populate_recordset(NULL::scenario, CAST(:rows AS jsonb)) ON CONFLICT DO NOTHING"
        ),
        {"rows": json.dumps(rows)},
    )


def scenarios(session: Session) -> list[Scenario]:
    """The newest version of each scenario of the tenant, the default first, then by name."""
    ensure_scenarios(session)
    rows = session.execute(
        text(
            "SELECT * FROM (SELECT DISTINCT ON (scenario_id) scenario_id, version, name, name_fr, active, is_default,"
            " steps FROM scenario ORDER BY scenario_id, version DESC) newest ORDER BY is_default DESC, name"
        )
    )
    return [
        Scenario(
            str(row.scenario_id), row.name, row.name_fr, row.version, row.active, row.is_default,
            tuple(step_from_json(step) for step in row.steps),
        )
        for row in rows
    ]  # fmt: skip
