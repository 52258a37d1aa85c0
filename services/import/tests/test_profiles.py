"""Profiles: by hand, in versions, by file name, with constants and item types, tried on a past file."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from import_driver import TIMEOUT_S, counts, state
from sqlalchemy import text

from importer import domain
from importer.domain.profiles import check_pattern, choose, fits, with_constants
from kit.ids import new_id
from kit.testing import caller_of, refused
from quittance.importer.v1 import import_service_pb2 as import_pb
from quittance.importer.v1 import profile_service_pb2 as pb
from quittance.importer.v1 import profile_service_pb2_grpc as pb_grpc

HEADER = "Kunde;Beleg;Datum;Faellig;Betrag;Art"
ROWS = ["C1;R1;03/04/2026;05/05/2026;100,00;RE", "C1;R2;03/04/2026;05/05/2026;40,00;GS", "C2;R3;03/04/2026;;7,50;XX"]
ITEMS = import_pb.IMPORT_OBJECT_ITEMS


def file_of(*rows: str) -> str:
    return "\n".join([HEADER, *(rows or ROWS)]) + "\n"


@pytest.fixture
def profiles(service: Any, grpc_in_process: Any) -> Any:
    from importer.__main__ import SERVICE

    return pb_grpc.ProfileServiceStub(grpc_in_process(SERVICE, service.database))


def draft(**said: Any) -> pb.ProfileDraft:
    types = [
        import_pb.ItemTypeRule(value=value, kind=kind, flip_sign=flip) for value, kind, flip in said.pop("types", [])
    ]
    return pb.ProfileDraft(**{"name": "German export", "object": ITEMS, "item_types": types, **said})


MAPPING = {
    "Kunde": "accountNumber", "Beleg": "itemNumber", "Datum": "issueOn", "Faellig": "dueOn", "Betrag": "initialAmount",
    "Art": "itemType",
}  # fmt: skip


def create(profiles: Any, said: pb.ProfileDraft, from_import: str = "") -> import_pb.Profile:
    request = pb.CreateProfileRequest(profile=said, from_import_id=from_import)
    return profiles.CreateProfile(request, timeout=TIMEOUT_S).profile


def test_a_profile_by_hand_reads_files_of_its_name_without_a_question(service, profiles):
    made = create(
        profiles,
        draft(
            patterns=["ERP_*.csv"], mapping=MAPPING, constants={"currency": "CHF"}, mode="stock", source_system="sap-1",
            answers={"dateOrder:Datum": "dmy", "dateOrder": "MDY"}, unknown_item_type="REJECT",
            types=[("re", "INVOICE", False), (" GS ", "CREDIT_NOTE", True)],
        ),
    )  # fmt: skip
    assert (made.version, made.by_hand, made.used) == (1, True, 0)
    run = service.upload(file_of(), name="erp_2026.CSV", apply=True)
    assert (state(run), run.mode, run.profile_id, run.profile_version) == ("APPLIED", "stock", made.profile_id, 1)
    assert counts(run) == (2, 0, 0, 0, 1)
    assert [(reject.line, reject.field, reject.code) for reject in run.rejects] == [(4, "itemType", "itemTypeUnknown")]
    kept = service.ledger.items
    assert (kept["C1", "R1"]["currency"], kept["C1", "R1"]["open_minor"]) == ("CHF", 10_000)
    assert kept["C1", "R1"]["issue_on"].isoformat() == "2026-04-03"
    assert kept["C1", "R1"]["due_on"].isoformat() == "2026-05-05"
    # The sign was turned round: a credit note that the file writes without.
    assert (kept["C1", "R2"]["kind"], kept["C1", "R2"]["open_minor"]) == ("CREDIT_NOTE", -4_000)

    other = service.upload(file_of(), name="other.csv", apply=True)
    assert state(other) == "QUESTIONS"
    assert other.profile_id != made.profile_id


def test_an_unknown_item_type_takes_the_profiles_default_or_its_sign(service, profiles):
    made = create(
        profiles,
        draft(patterns=["a*"], mapping=MAPPING, answers={"dateOrder": "DMY"}, types=[("GS", "CREDIT_NOTE", True)]),
    )
    run = service.upload(file_of(), name="a.csv", apply=True)
    assert counts(run) == (3, 0, 0, 0, 0)
    assert service.ledger.items["C2", "R3"]["kind"] == "INVOICE"
    assert any("XX" in warning for warning in run.warnings)
    said = draft(
        patterns=["a*"], mapping=MAPPING, answers={"dateOrder": "DMY"}, types=[("GS", "CREDIT_NOTE", True)],
        unknown_item_type="BANK_CHARGE",
    )  # fmt: skip
    saved = profiles.UpdateProfile(
        pb.UpdateProfileRequest(profile_id=made.profile_id, profile=said, version=made.version)
    ).profile
    assert saved.version == 2
    run = service.upload(file_of(*ROWS, "C9;R9;03/04/2026;;1,00;"), name="a2.csv", apply=True)
    assert run.profile_version == 2
    assert {key: row["kind"] for key, row in service.ledger.items.items()} == {
        ("C1", "R1"): "BANK_CHARGE", ("C1", "R2"): "CREDIT_NOTE", ("C2", "R3"): "BANK_CHARGE", ("C9", "R9"): "INVOICE",
    }  # fmt: skip


def test_each_save_is_a_version_that_never_changes(service, profiles, as_tenant):
    made = create(profiles, draft(patterns=["*.csv"], mapping=MAPPING, answers={"dateOrder": "DMY"}))
    first = service.upload(file_of(), apply=True)
    said = draft(name="Second", patterns=["*.csv"], mapping={**MAPPING, "Art": ""}, answers={"dateOrder": "DMY"})
    update = pb.UpdateProfileRequest(profile_id=made.profile_id, profile=said, version=1)
    assert profiles.UpdateProfile(update).profile.version == 2
    with refused(grpc.StatusCode.ABORTED, "PROFILE_CHANGED"):
        profiles.UpdateProfile(update)
    assert service.get(first.import_id).profile_version == 1
    request = pb.ListProfileVersionsRequest(profile_id=made.profile_id)
    listed = profiles.ListProfileVersions(request).versions
    assert [(version.version, version.profile.name) for version in listed] == [(2, "Second"), (1, "German export")]
    old = profiles.GetProfile(pb.GetProfileRequest(profile_id=made.profile_id, version=1)).profile
    assert (old.mapping["Art"], old.name) == ("itemType", "German export")
    with (
        service.acting(),
        service.database.transaction() as session,
        pytest.raises(Exception, match=r"permission|insert-only"),
    ):
        session.execute(text("UPDATE profile_version SET saved_by = 'somebody else'"))
    with as_tenant(new_id()), refused(grpc.StatusCode.NOT_FOUND, "PROFILE_UNKNOWN"):
        from importer import usecases

        with service.database.transaction() as session:
            usecases.profile_at(session, made.profile_id, 0)


def test_what_a_person_corrects_while_applying_is_learnt_as_a_version(service, profiles):
    run = service.upload(file_of(), apply=True)
    assert state(run) == "QUESTIONS"
    applied = service.apply(run.import_id, dateOrder="DMY")
    assert (state(applied), applied.profile_version) == ("APPLIED", 1)
    again = service.upload(file_of(), apply=True)
    assert (again.profile_id, again.profile_version) == (applied.profile_id, 1)
    corrected = service.upload(file_of())
    request = import_pb.AnswerImportRequest(import_id=corrected.import_id, mapping={"Art": "custom:Art"})
    service.stub.AnswerImport(request, timeout=TIMEOUT_S)
    service.work()
    last = service.apply(corrected.import_id)
    assert (last.profile_id, last.profile_version) == (applied.profile_id, 2)
    found = service.stub.ListProfiles(import_pb.ListProfilesRequest(), timeout=TIMEOUT_S).profiles
    assert [(one.used, one.version, one.by_hand, one.mapping["Art"]) for one in found] == [(3, 2, False, "custom:Art")]


def test_a_profile_serves_the_entities_it_names(service, profiles):
    service.ledger.entities["DE01"] = "EUR"
    run = service.upload(file_of(), answers={"dateOrder": "DMY"})
    german = create(profiles, draft(name="DE", entity_codes=["DE01"], answers={"dateOrder": "MDY"}), run.import_id)
    assert german.fingerprint == run_fingerprint(service, run)
    first = service.upload(file_of(), apply=True)
    assert state(first) == "QUESTIONS"
    second = service.upload(file_of(), apply=True, entity="DE01")
    assert (state(second), second.profile_id) == ("APPLIED", german.profile_id)
    assert service.ledger.items["C1", "R1"]["issue_on"].isoformat() == "2026-03-04"


def run_fingerprint(service: Any, run: Any) -> str:
    with service.acting(), service.database.transaction() as session:
        query = text("SELECT fingerprint FROM batch WHERE import_id = :id")
        return str(session.execute(query, {"id": run.import_id}).scalar_one())


def test_a_try_on_a_past_file_says_what_would_come_and_keeps_nothing(service, profiles):
    run = service.upload(file_of(*ROWS, "C3;R4;31/02/2026;;1,00;RE"))
    before = 2
    said = draft(
        mapping=MAPPING, answers={"dateOrder": "DMY"}, types=[("RE", "INVOICE", False)], unknown_item_type="REJECT"
    )
    tried = profiles.TestProfile(pb.TestProfileRequest(import_id=run.import_id, draft=said), timeout=TIMEOUT_S)
    assert (tried.read, tried.accepted, tried.rejected) == (4, 1, 3)
    assert {(reject.line, reject.code) for reject in tried.rejects} == {
        (3, "itemTypeUnknown"), (4, "itemTypeUnknown"), (5, "dateImpossible"),
    }  # fmt: skip
    assert tried.preview[0].values["issueOn"] == "2026-04-03"
    assert [(total.currency, total.total.minor_units) for total in tried.totals] == [("EUR", 10_000)]
    run = service.upload(file_of())
    made = create(profiles, draft(), run.import_id)
    asked = profiles.TestProfile(pb.TestProfileRequest(import_id=run.import_id, profile_id=made.profile_id))
    assert [question.code for question in asked.questions] == ["dateOrder"]
    assert len(service.stub.ListImports(import_pb.ListImportsRequest()).imports) == before
    assert service.ledger.items == {}
    with refused(grpc.StatusCode.NOT_FOUND, "IMPORT_UNKNOWN"):
        profiles.TestProfile(pb.TestProfileRequest(import_id=new_id(), profile_id=made.profile_id))
    with refused(grpc.StatusCode.NOT_FOUND, "PROFILE_UNKNOWN"):
        profiles.TestProfile(pb.TestProfileRequest(import_id=run.import_id, profile_id=new_id()))


def test_what_cannot_be_said_is_named_field_by_field(profiles):
    said = draft(
        patterns=["in/*.csv"], mapping={"A": "noField", "B": "dueOn", "C": "dueOn"}, constants={"currency": " ", "zzz": "x"},
        answers={"dateOrder": "YDM", "stockGuard": "CONFIRM"}, mode="whole", unknown_item_type="CATS",
        types=[("x", "CATS", False), ("Y", "INVOICE", False), ("y ", "INVOICE", False)],
    )  # fmt: skip
    with pytest.raises(Exception) as caught:
        create(profiles, said)
    assert caught.value.reason == "PROFILE_WRONG"
    assert set(caught.value.fields) >= {
        "mapping.A", "mapping.dueOn", "constants.currency", "constants.zzz", "answers.dateOrder", "answers.stockGuard",
        "itemTypes.x", "itemTypes.Y", "patterns", "mode", "unknownItemType",
    }  # fmt: skip
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "PROFILE_WRONG"):
        create(profiles, draft())


def test_fields_are_named_in_the_readers_language(profiles):
    english = profiles.GetFields(pb.GetFieldsRequest())
    french = profiles.GetFields(pb.GetFieldsRequest(), metadata=[("accept-language", "fr")])
    assert {field.name for field in english.fields} == {field.name for field in french.fields}
    assert {field.label for field in english.fields} != {field.label for field in french.fields}
    assert set(english.item_kinds) >= {"INVOICE", "CREDIT_NOTE", "PAYMENT"}


def one(fingerprint: str = "", patterns: tuple[str, ...] = (), by_hand: bool = True) -> Any:
    return SimpleNamespace(fingerprint=fingerprint, patterns=list(patterns), by_hand=by_hand)


def test_the_nearest_profile_is_chosen():
    both, layout, named, learnt = one("f", ("a*",)), one("f"), one("g", ("a*",)), one("f", by_hand=False)
    everything = [learnt, named, layout, both]
    assert choose(everything, "f", "a.csv") is both
    assert choose([learnt, named, layout], "f", "a.csv") is layout
    assert choose([learnt, named], "f", "a.csv") is named
    assert choose([learnt, named], "f", "b.csv") is learnt
    assert choose([named, both], "f", "b.csv") is None
    assert choose([], "f", "a.csv") is None


@pytest.mark.parametrize(
    ("pattern", "name", "is_fit"),
    [
        ("items_*.csv", "ITEMS_2026.CSV", True),
        ("items_*.csv", "xitems_1.csv", False),
        ("a?c", "abc", True),
        ("[ab].csv", "a.csv", False),
        ("[ab].csv", "[AB].csv", True),
        ("*", "anything", True),
    ],
)
def test_patterns_know_stars_and_question_marks_only(pattern, name, is_fit):
    assert fits(pattern, name) is is_fit


def test_a_pattern_has_no_folders():
    assert check_pattern("items_*.csv")
    assert not any(check_pattern(pattern) for pattern in ("", " ", "in/*.csv", "a\\b", "a\nb", "x" * 201))


def test_constants_stand_beside_the_files_columns():
    raw = domain.read_table(file_of().encode(), "a.csv")
    whole = with_constants(raw, {"currency": "CHF", "companyCode": "1000"})
    assert whole.headers[-2:] == ["=companyCode", "=currency"]
    assert whole.table.column(whole.table.num_columns - 1).to_pylist() == ["CHF"] * 3
    assert raw.table.num_columns == 6
    assert caller_of(new_id())
