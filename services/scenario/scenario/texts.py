"""What scenario says in French: sentences of its refusals and of what it keeps; see kit.texts."""

from kit import context, texts

FRENCH = {
    "the day of a promise is today or later": "le jour d'une promesse est aujourd'hui ou plus tard",
    "is in the past": "est dans le passé",
    "a promise is at most {0} days ahead": "une promesse porte sur {0} jours au plus",
    "is more than {0} days ahead": "est dans plus de {0} jours",
    "order by name": "triez par name",
    "knows name only": "ne connaît que name",
    "no such scenario": "ce scénario n'existe pas",
    "no such account": "ce compte n'existe pas",
    "no such action": "cette relance n'existe pas",
    "no such promise": "cette promesse n'existe pas",
    "nothing of it is collectable any more": "plus rien n'y est à recouvrer",
    "this request id was used with other content": "cet identifiant de requête a déjà servi avec un autre contenu",
    "not of this action, or paid, held or answered in between: {0}": (
        "hors de cette relance, ou payé, bloqué ou répondu entre-temps : {0}"
    ),
    "cannot be chased here: {0}": "ne peut pas être relancé ici : {0}",
    "this action was sent": "cette relance a été envoyée",
    "this step is done by a person": "cette étape est faite par une personne",
    "the action is not owed: {0}": "la relance n'a plus lieu d'être : {0}",
    "an e-mail is done when it was sent": "un e-mail est fait quand il a été envoyé",
    "this action has ended or is being sent": "cette relance est terminée ou en cours d'envoi",
    "an action moves to today or later": "une relance se reporte à aujourd'hui ou plus tard",
    "say first whether the message left": "dites d'abord si le message est parti",
    "a pause ends today or later": "une pause se termine aujourd'hui ou plus tard",
    "each item is promised once": "chaque pièce n'est promise qu'une fois",
    "names an item twice": "nomme une pièce deux fois",
    "an item of the promise is not open on this account": "une pièce de la promesse n'est pas ouverte sur ce compte",
    "the amount is in the currency of the item": "le montant est dans la devise de la pièce",
    "the item is in {0}": "la pièce est en {0}",
    "its day is {0}; move it to today to send it now": "son jour est le {0} ; ramenez-la à aujourd'hui pour l'envoyer",
    # What it keeps, or repeats of notification's refusals.
    "replaced by a newer promise": "remplacée par une promesse plus récente",
    "promise cancelled": "promesse annulée",
    "it has ended": "elle est terminée",
    "the step before came back": "l'étape précédente est revenue",
    "the message has no text": "le message n'a pas de texte",
    "has no text": "n'a pas de texte",
    "these hashtags cannot be used here: {0}": "ces hashtags ne peuvent pas servir ici : {0}",
    "there is no template {0}": "le modèle {0} n'existe pas",
    "nothing of this account is to be chased now": "rien de ce compte n'est à relancer maintenant",
    "the account has no valid contact to write to": "le compte n'a aucun contact valable à qui écrire",
    "paid, held, answered or not of this account: {0}": "payé, bloqué, répondu ou hors de ce compte : {0}",
}

CATALOG = texts.Catalog({**texts.FRENCH, **FRENCH})


def say(english: str) -> str:
    """A sentence of this service in the language of who asks; one that is not of the catalog stays as it is."""
    return CATALOG.say(english, context.language())
