"""What notification says in French: sentences of its refusals and of what it keeps; see kit.texts."""

from kit import context, texts

FRENCH = {
    "paid, held, answered or not of this account: {0}": "payé, bloqué, répondu ou hors de ce compte : {0}",
    "cannot be chased: {0}": "ne peut pas être relancé : {0}",
    "there is no template {0}": "le modèle {0} n'existe pas",
    "there is no such message": "ce message n'existe pas",
    "there is no such account": "ce compte n'existe pas",
    "a message with other content was already made for this purpose": (
        "un message au contenu différent existe déjà pour ce motif"
    ),
    "these hashtags cannot be used here: {0}": "ces hashtags ne peuvent pas servir ici : {0}",
    "the message has no text": "le message n'a pas de texte",
    "has no text": "n'a pas de texte",
    "nothing of this account is to be chased now": "rien de ce compte n'est à relancer maintenant",
    "the account has no valid contact to write to": "le compte n'a aucun contact valable à qui écrire",
    "another message for this purpose is being made; try again": (
        "un autre message est en préparation pour ce motif ; réessayez"
    ),
    "the personal link was opened before the message left": "le lien personnel a été ouvert avant le départ du message",
    "only a message with an unknown outcome is resolved": "seul un message au sort inconnu se tranche",
    "there is no such template": "ce modèle n'existe pas",
    "unknown hashtags: {0}": "hashtags inconnus : {0}",
    "{0} is no address a mail server takes": "{0} n'est pas une adresse acceptée par un serveur de messagerie",
    # Warnings of a draft.
    "nothing is to be chased now": "rien n'est à relancer maintenant",
    "{0} of the chosen items are paid, answered or on hold": (
        "{0} des pièces choisies sont payées, répondues ou bloquées"
    ),
    "one of the chosen items is paid, answered or on hold": "une des pièces choisies est payée, répondue ou bloquée",
    "open credits: {0}": "avoirs ouverts : {0}",
    # Why a message did not leave, and what came of its tries, as they are kept.
    "Paid in between. The e-mail was not sent.": "Payé entre-temps. L'e-mail n'a pas été envoyé.",
    "Answered, disputed or put on hold in between. The e-mail was not sent.": (
        "Répondu, contesté ou bloqué entre-temps. L'e-mail n'a pas été envoyé."
    ),
    "The sender stopped after the message was offered; whether the server took it is not known.": (
        "L'envoi s'est arrêté après la remise du message ; on ne sait pas si le serveur l'a pris."
    ),
    "The sender stopped before the message was offered.": "L'envoi s'est arrêté avant la remise du message.",
    "Changed in between, and the text names it without a hashtag: {0}": (
        "Modifié entre-temps, et le texte le nomme sans hashtag : {0}"
    ),
    "No addressee is valid any more.": "Plus aucun destinataire n'est valable.",
    "no answer after the message was handed over: {0}": "aucune réponse après la remise du message : {0}",
    "the mail server could not be reached: {0}": "le serveur de messagerie est injoignable : {0}",
}

CATALOG = texts.Catalog({**texts.FRENCH, **FRENCH})


def say(english: str) -> str:
    """A sentence of this service in the language of who asks; one that is not of the catalog stays as it is."""
    return CATALOG.say(english, context.language())
