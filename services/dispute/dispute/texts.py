"""What dispute says in French: sentences of its refusals and of what it keeps; see kit.texts."""

from kit import context, texts

FRENCH = {
    "reasons are {0}": "les motifs sont {0}",
    "is not a reason": "n'est pas un motif",
    "a case that is {0} does not become {1}": "un dossier {0} ne devient pas {1}",
    "a case that is {0} is not settled again": "un dossier {0} ne se règle pas une seconde fois",
    "at most what is disputed of an item can be accepted": "on accepte au plus ce qui est contesté d'une pièce",
    "is more than is disputed of {0}": "dépasse ce qui est contesté de {0}",
    "no such account": "ce compte n'existe pas",
    "no such case": "ce dossier n'existe pas",
    "this request id was used with other content": "cet identifiant de requête a déjà servi avec un autre contenu",
    "each item is disputed once": "chaque pièce n'est contestée qu'une fois",
    "names an item twice": "nomme une pièce deux fois",
    "an item is not open on this account": "une pièce n'est pas ouverte sur ce compte",
    "an amount is above zero, in the currency of its item": (
        "un montant est supérieur à zéro, dans la devise de sa pièce"
    ),
    "is not above zero in {0}": "n'est pas supérieur à zéro en {0}",
    "the case is closed": "le dossier est clos",
    # States, as sentences name them.
    "NEW": "nouveau",
    "ACKNOWLEDGED": "pris en compte",
    "ASSIGNED": "attribué",
    "IN_PROGRESS": "en cours",
    "WAITING_CUSTOMER": "en attente du client",
    "WAITING_INTERNAL": "en attente interne",
    "ACCEPTED": "accepté",
    "PARTLY_ACCEPTED": "accepté en partie",
    "REJECTED": "refusé",
    "CLOSED": "clos",
    # Outcomes and the history, as they are kept.
    "Credit note: {0}": "Avoir : {0}",
    "Corrected invoice: {0}": "Facture corrigée : {0}",
    "Write-off: {0}": "Passage en perte : {0}",
    "Rejected: {0}": "Refusé : {0}",
    "Settled: {0}": "Réglé : {0}",
    "all items were cleared": "toutes les pièces ont été soldées",
    "the accepted amounts were credited": "les montants acceptés ont été crédités",
    "could not be reopened: {0}": "n'a pas pu être rouvert : {0}",
}

CATALOG = texts.Catalog({**texts.FRENCH, **FRENCH})


def say(english: str) -> str:
    """A sentence of this service in the language of who asks; one that is not of the catalog stays as it is."""
    return CATALOG.say(english, context.language())
