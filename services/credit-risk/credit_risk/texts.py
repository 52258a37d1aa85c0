"""What credit-risk says in French: sentences of its refusals and of what it keeps; see kit.texts."""

from kit import context, texts

FRENCH = {
    "a limit is not negative": "une limite n'est pas négative",
    "zero or more": "zéro ou plus",
    "the limit ends before it starts": "la limite finit avant de commencer",
    "before validFrom": "avant validFrom",
    "{0} is no number": "{0} n'est pas un nombre",
    "a number": "un nombre",
    "the rows cannot be read": "les lignes sont illisibles",
    "the columns are not those of this object": "les colonnes ne sont pas celles de cet objet",
    "the first message is the header": "le premier message est l'en-tête",
    "the header names no object": "l'en-tête ne nomme aucun objet",
    "there is no such entity": "cette entité n'existe pas",
    "every message after the first is a chunk": "chaque message après le premier est un lot de lignes",
    "there is no such account": "ce compte n'existe pas",
}

CATALOG = texts.Catalog({**texts.FRENCH, **FRENCH})


def say(english: str) -> str:
    """A sentence of this service in the language of who asks; one that is not of the catalog stays as it is."""
    return CATALOG.say(english, context.language())
