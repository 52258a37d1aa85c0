"""Refusals in French: by the sentence, with what stands in its places."""

from kit import context
from kit.errors import Code, Refused
from kit.texts import FRENCH, Catalog, listed

CATALOG = Catalog(
    {
        **FRENCH,
        "the case is {0}": "le dossier est {0}",
        "the case is closed": "le dossier est clos",
        "NEW": "nouveau",
        "{0} owes {1}": "{1} sont dus par {0}",
    }
)


def test_exact_sentences_go_before_those_with_places():
    assert CATALOG.say("the case is closed", "fr") == "le dossier est clos"
    assert CATALOG.say("the case is open", "fr") == "le dossier est open"


def test_what_stands_in_a_place_is_said_in_french_where_it_is_known():
    assert CATALOG.say("the case is NEW", "fr") == "le dossier est nouveau"
    assert CATALOG.say("has 3 elements; at least 4 are needed", "fr") == "a 3 éléments ; il en faut au moins 4"


def test_places_may_change_their_order_and_hold_anything():
    assert CATALOG.say("A (b) {0} owes\n5 EUR", "fr") == "A (b) {0} owes\n5 EUR"
    assert CATALOG.say("{1}.* owes 5 EUR", "fr") == "5 EUR sont dus par {1}.*"


def test_unknown_sentences_and_english_readers_get_the_sentence_as_it_is():
    assert CATALOG.say("ce dossier n'existe pas", "fr") == "ce dossier n'existe pas"
    assert CATALOG.say("the case is closed", "en") == "the case is closed"
    assert CATALOG.say("x" * 100_000, "fr") == "x" * 100_000


def test_a_refusal_keeps_its_reason_its_paths_and_its_facts():
    fields = {"name": "is required", "lines[2].amount": "is -1; at least 0 is needed"}
    refused = Refused(Code.INVALID_ARGUMENT, "INVALID_FIELDS", listed(fields), fields, state="NEW")
    said = CATALOG.refusal(refused, "fr")
    assert (said.code, said.reason, said.metadata) == (Code.INVALID_ARGUMENT, "INVALID_FIELDS", {"state": "NEW"})
    assert said.fields == {"name": "est obligatoire", "lines[2].amount": "vaut -1 ; il faut au moins 0"}
    assert said.message == "name: est obligatoire; lines[2].amount: vaut -1 ; il faut au moins 0"
    assert CATALOG.refusal(refused, "en") is refused


def test_the_first_wanted_language_counts():
    tags = {"fr": "fr", "fr-CA,fr;q=0.9,en;q=0.8": "fr", "FR_fr": "fr", "en, fr;q=0.5": "en", "": "en", "frr": "en"}
    assert {tag: context.language_of(tag) for tag in tags} == tags


def test_work_speaks_what_was_asked_for_and_english_outside():
    assert context.language() == "en"
    with context.speaking("fr-CA"):
        assert (context.language(), context.language_tag()) == ("fr", "fr-CA")
    assert (context.language(), context.language_tag()) == ("en", "")
