"""What reporting says in French: sentences of its refusals and of what it keeps; see kit.texts."""

from kit import context, texts

FRENCH = {
    "there is no entity {0}": "l'entité {0} n'existe pas",
    "there is no such account": "ce compte n'existe pas",
    "Credit note: {0}": "Avoir : {0}",
    "Corrected invoice: {0}": "Facture corrigée : {0}",
    "Write-off: {0}": "Passage en perte : {0}",
    "Rejected: {0}": "Refusé : {0}",
    "Settled: {0}": "Réglé : {0}",
    "all items were cleared": "toutes les pièces ont été soldées",
    "the accepted amounts were credited": "les montants acceptés ont été crédités",
    "Case {0}: {1}": "Litige {0} : {1}",
    "Promise for {0}": "Promesse pour le {0}",
    "Months of gross sales are set against the receivables from {0} backwards; each used month counts its calendar"
    " days, the last one the part that was needed.": (
        "Les ventes brutes des mois sont imputées sur les créances en remontant depuis le {0} ; chaque mois utilisé compte"
        " ses jours calendaires, le dernier la part nécessaire."
    ),
    "Sales of {0} as files say them.": "Ventes de {0} telles que les fichiers les donnent.",
    "Receivables times 90 days, divided by the gross sales of the 90 days up to {0}.": (
        "Créances multipliées par 90 jours, divisées par les ventes brutes des 90 jours jusqu'au {0}."
    ),
    # Reasons of disputes and steps of the shipped scenarios, as their services name them (tests/contracts compares).
    "Price": "Prix",
    "Quantity or shortage": "Quantité ou manquant",
    "Quality or damage": "Qualité ou avarie",
    "Invoice not received": "Facture non reçue",
    "Administrative": "Administratif",
    "Delivery or its date": "Livraison ou sa date",
    "Contract or terms": "Contrat ou conditions",
    "Returned goods": "Marchandise retournée",
    "Other": "Autre",
    "Reminder before the due date": "Relance avant échéance",
    "Reminder 1": "Relance 1",
    "Call": "Appel",
    "Ask sales": "Consulter le commercial",
    "Reminder 2": "Relance 2",
    "Formal notice": "Mise en demeure",
    "Litigation proposal": "Proposition de contentieux",
    "Call before the due date": "Appel avant échéance",
    "Ask the sales manager": "Consulter le directeur commercial",
    "Management to management": "De direction à direction",
    "Decide together": "Décision en réunion",
    "Reminder 3": "Relance 3",
    "Letter": "Courrier",
    "Collection agency": "Société de recouvrement",
    "Litigation or insurer": "Contentieux ou assureur",
    "Insurer or agency": "Assureur ou société de recouvrement",
    "Claim to the authority": "Saisine de l'autorité",
    # Why a message did not leave, as notification says it.
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
