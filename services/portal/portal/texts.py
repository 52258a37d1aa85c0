"""What portal says in French: sentences of its refusals and of what it keeps; see kit.texts."""

from kit import context, texts

FRENCH = {
    "the day of payment is past: agree on another one": "le jour du paiement est passé : convenez d'un autre",
    "the day of payment is past": "le jour du paiement est passé",
    "these lines do not fit the answer: {0}": "ces lignes ne correspondent pas à la réponse : {0}",
    "is not part of the answer": "ne fait pas partie de la réponse",
    "{0}: above zero and at most {1}": "{0} : supérieur à zéro et au plus {1}",
    "there is no such answer": "cette réponse n'existe pas",
    "there is no such account": "ce compte n'existe pas",
    "there is no such link": "ce lien n'existe pas",
    "this answer is decided or has run out": "cette réponse est tranchée ou caduque",
}

CATALOG = texts.Catalog({**texts.FRENCH, **FRENCH})


def say(english: str) -> str:
    """A sentence of this service in the language of who asks; one that is not of the catalog stays as it is."""
    return CATALOG.say(english, context.language())
