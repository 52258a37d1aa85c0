"""What the import service says in French: sentences of its refusals and of what it keeps; see kit.texts."""

from kit import context, texts

FRENCH = {
    "say in 1 to 500 characters why it is applied all the same": (
        "dites en 1 à 500 caractères pourquoi appliquer quand même"
    ),
    "{0} is no currency": "{0} n'est pas une devise",
    "is no ISO 4217 currency": "n'est pas une devise ISO 4217",
    "{0} is given twice": "{0} est donné deux fois",
    "is given twice": "est donné deux fois",
    "only items that were applied are taken back": "seuls des postes appliqués peuvent être annulés",
    "consequences are ordered by line": "les conséquences sont triées par ligne",
    "line or line desc": "line ou line desc",
    "what it would do is not known yet": "l'effet de l'application n'est pas encore connu",
    "the first message is the header": "le premier message est l'en-tête",
    "there is no such profile": "ce profil n'existe pas",
    "{0} cannot be answered so": "on ne peut pas répondre ainsi à {0}",
    "unknown answer": "réponse inconnue",
    "mode is delta or stock": "le mode est delta ou stock",
    "delta or stock": "delta ou stock",
    "the import is {0}": "l'import est {0}",
    "answer first: {0}": "répondez d'abord à : {0}",
    "{0} cannot be mapped so": "{0} ne peut pas être affecté ainsi",
    "unknown column or field": "colonne ou champ inconnu",
    "there is no such import": "cet import n'existe pas",
    "there is no entity {0}": "l'entité {0} n'existe pas",
    # Sources, profiles, channels.
    "rows have at most {0} columns": "les lignes ont {0} colonnes au plus",
    "not an Arrow IPC stream: {0}": "ce n'est pas un flux Arrow IPC : {0}",
    "{0} is {1}: send text, a date, a decimal or a whole number": (
        "{0} est {1} : envoyez du texte, une date, un décimal ou un entier"
    ),
    "{0} has another host key than the one that was pinned": "{0} a une autre clé d'hôte que celle qui a été retenue",
    "{0} did not let us in": "{0} nous a refusé l'accès",
    "{0} has no such folder": "{0} n'a pas ce dossier",
    "{0} could not be reached": "{0} est injoignable",
    # States, as sentences name them.
    "uploaded": "téléversé",
    "parsing": "en lecture",
    "questions": "en attente de réponses",
    "previewed": "prêt à valider",
    "applying": "en cours d'application",
    "applied": "appliqué",
    "failed": "en échec",
    "cancelled": "annulé",
    "reading": "en lecture",
    "rolled_back": "annulé après application",
    "{0} does not answer as an SFTP server": "{0} ne répond pas comme un serveur SFTP",
    "unknown field": "champ inconnu",
    "two columns become this field": "deux colonnes deviennent ce champ",
    "unknown kind": "nature inconnue",
    "only items have types": "seules les pièces ont des types",
    "a file name with * and ?, without folders": "un nom de fichier avec * et ?, sans dossier",
    "a text of 1 to 500 characters": "un texte de 1 à 500 caractères",
    "is named twice": "est nommé deux fois",
    "a batch carries rows": "un lot porte des lignes",
    "after the header come rows": "après l'en-tête viennent des lignes",
    "name a file pattern, or make it from an import": "nommez un motif de fichier, ou partez d'un import",
    "somebody saved this profile meanwhile": "quelqu'un a enregistré ce profil entre-temps",
    "belongs to one file, not to a layout": "appartient à un fichier, non à une disposition",
    "there is no such entity": "cette entité n'existe pas",
    "name the entities it serves": "nommez les entités qu'il sert",
    "some of it cannot be said in a profile": "une partie ne peut pas figurer dans un profil",
    "this file is too large to try a profile on it": "ce fichier est trop grand pour y essayer un profil",
    "there is no such source": "cette source n'existe pas",
    "say how files arrive": "dites comment les fichiers arrivent",
    "somebody changed this source meanwhile": "quelqu'un a modifié cette source entre-temps",
    "the kind of a source stays; add another one": "la nature d'une source ne change pas ; ajoutez-en une autre",
    "files of this source come through the application": "les fichiers de cette source passent par l'application",
    "files of this source are not pulled": "les fichiers de cette source ne sont pas relevés",
    "this source is switched off": "cette source est désactivée",
    "another source has this name": "une autre source porte ce nom",
    "{0} is no e-mail address": "{0} n'est pas une adresse e-mail",
    "reports are in en or fr": "les rapports sont en en ou fr",
    "en or fr": "en ou fr",
    "say where to pull from, as whom, and which host key the server has": (
        "dites où relever, sous quel nom, et quelle clé d'hôte a le serveur"
    ),
    "there is no host {0}": "l'hôte {0} n'existe pas",
    "this address is inside a network and may not be asked": (
        "cette adresse est interne à un réseau et ne peut être interrogée"
    ),
    "give the password or the private key for this server": "donnez le mot de passe ou la clé privée de ce serveur",
    "a public key in OpenSSH's form: Ed25519, ECDSA, or RSA of 2048 bits or more": (
        "une clé publique au format OpenSSH : Ed25519, ECDSA, ou RSA d'au moins 2048 bits"
    ),
    "a private key in OpenSSH's or PEM form, without a passphrase": (
        "une clé privée au format OpenSSH ou PEM, sans phrase secrète"
    ),
    "this name fits none of the source's patterns": "ce nom ne correspond à aucun motif de la source",
    "too many uploads are open: finish some first": "trop d'envois sont ouverts : terminez-en d'abord",
    "there is no such upload": "cet envoi n'existe pas",
    "more than the {0} bytes that were announced": "plus que les {0} octets annoncés",
    "this upload is an import already": "cet envoi est déjà un import",
    "the next byte is number {0}": "le prochain octet est le numéro {0}",
    "{0} of {1} bytes are here": "{0} octets sur {1} sont arrivés",
    "this batch id was used with another header": "cet identifiant de lot a servi avec un autre en-tête",
    "there is no such stream": "ce flux n'existe pas",
    "this batch is finished": "ce lot est terminé",
    "the next sequence number is {0}": "le prochain numéro de séquence est {0}",
    "every batch has the columns of the first one": "chaque lot a les colonnes du premier",
    "this batch is too large: divide it": "ce lot est trop grand : divisez-le",
    "a batch has 1 to {0} rows": "un lot a de 1 à {0} lignes",
    "columns have names, each its own": "les colonnes ont des noms, chacune le sien",
    "{0} rows are here, {1} were announced": "{0} lignes sont arrivées, {1} étaient annoncées",
    # Documents.
    "documents are of these kinds: {0}": "les documents sont de ces types : {0}",
    "documents with macros are not taken": "les documents avec macros ne sont pas acceptés",
    "the content is no {0}": "le contenu n'est pas un {0}",
    "the document is empty": "le document est vide",
    "a document has at most {0} MB": "un document fait {0} Mo au plus",
    "there is no such document": "ce document n'existe pas",
    "there is no such item": "cette pièce n'existe pas",
    "say which items it belongs to, or of which entity it is": (
        "dites à quelles pièces il appartient, ou de quelle entité il est"
    ),
    "all items of a document belong to one entity": "toutes les pièces d'un document appartiennent à une même entité",
    "these items have this document already": "ces pièces ont déjà ce document",
    "name an item, or ask for unmatched documents": "nommez une pièce, ou demandez les documents sans pièce",
    "the virus scan has not ended yet": "l'analyse antivirus n'est pas encore terminée",
    "the virus scan found {0}; the file was deleted": "l'analyse antivirus a trouvé {0} ; le fichier a été supprimé",
    "the virus scanner cannot be asked now": "l'antivirus ne répond pas pour le moment",
    "the virus scanner cannot be asked now; it is asked again": (
        "l'antivirus ne répond pas pour le moment ; il sera interrogé de nouveau"
    ),
    "this is no address": "ce n'est pas une adresse",
    "the address begins with https:// and names a host": "l'adresse commence par https:// et nomme un hôte",
    "the address has no blanks and no signs beyond ASCII": "l'adresse n'a ni espaces ni signes hors de l'ASCII",
    "the address has neither user nor port": "l'adresse n'a ni utilisateur ni port",
    "a brace is not closed": "une accolade n'est pas fermée",
    "the host is written out, without fields": "l'hôte est écrit en toutes lettres, sans champs",
    "the address names a field of the item, such as {number}": ("l'adresse nomme un champ de la pièce, comme {number}"),
    "there is no field {0}": "le champ {0} n'existe pas",
    "addresses on {0} are not allowed in this installation": (
        "les adresses sur {0} ne sont pas permises dans cette installation"
    ),
}

CATALOG = texts.Catalog({**texts.FRENCH, **FRENCH})


def say(english: str) -> str:
    """A sentence of this service in the language of who asks; one that is not of the catalog stays as it is."""
    return CATALOG.say(english, context.language())
