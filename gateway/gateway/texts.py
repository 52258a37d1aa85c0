"""What the gateway says in French: sentences of its refusals and of what it keeps; see kit.texts."""

from kit import context, texts

FRENCH = {
    "this address has expired, or never was one: ask for the document again": (
        "cette adresse a expiré, ou n'en a jamais été une : demandez le document de nouveau"
    ),
    "send multipart/form-data with the field file, and item or entity": (
        "envoyez multipart/form-data avec le champ file, et item ou entity"
    ),
    "at most {0} files come in one form": "un formulaire contient {0} fichiers au plus",
    "must be the id of an item": "doit être l'identifiant d'une pièce",
    "a file is not as large as that": "un fichier n'est pas aussi gros",
    "say which bytes these are, such as Content-Range: bytes 0-8388607/2000000000": (
        "dites de quels octets il s'agit, par exemple Content-Range: bytes 0-8388607/2000000000"
    ),
    "this did not come from a page of ours: reload the page and try again": (
        "ceci ne vient pas d'une de nos pages : rechargez la page et réessayez"
    ),
    "sign in, or send an API key: Authorization: Bearer qk_...": (
        "connectez-vous, ou envoyez une clé d'API : Authorization: Bearer qk_..."
    ),
    "send Authorization: Bearer <key>": "envoyez Authorization: Bearer <clé>",
    "this key is unknown, revoked or over": "cette clé est inconnue, révoquée ou échue",
    "{0} is no role": "{0} n'est pas un rôle",
    "a password {0}": "un mot de passe {0}",
    "has {0} to {1} characters": "a de {0} à {1} caractères",
    "mixes three of: small letters, capitals, digits, other signs; or has {0} characters": (
        "mêle trois sortes parmi minuscules, majuscules, chiffres et autres signes ; ou a {0} caractères"
    ),
    "does not contain the address": "ne contient pas l'adresse",
    "has at least 5 different characters": "a au moins 5 caractères différents",
    "something went wrong on our side; nothing is known to be wrong with the call": (
        "une erreur s'est produite de notre côté ; rien n'indique que l'appel soit en cause"
    ),
    "a part of Quittance does not answer; try again shortly": (
        "une partie de Quittance ne répond pas ; réessayez dans un instant"
    ),
    "this took too long and was stopped; try again": "c'était trop long et a été interrompu ; réessayez",
    "too much at once; try again shortly": "trop de demandes à la fois ; réessayez dans un instant",
    "this is not available on this installation": "ceci n'existe pas sur cette installation",
    "there is nothing at {0}": "il n'y a rien à {0}",
    "{0} is not possible at {1}": "{0} n'est pas possible à {1}",
    "the body is too large": "le corps est trop grand",
    "send application/json": "envoyez du application/json",
    "the request cannot be read": "la requête est illisible",
    "no keys are set up": "aucune clé n'est en place",
    "too many calls: try again in {0} s": "trop d'appels : réessayez dans {0} s",
    "too many listeners; ask again": "trop d'auditeurs ; redemandez",
    "import is not part of this installation": "import ne fait pas partie de cette installation",
    "the body cannot be read: {0}": "le corps est illisible : {0}",
    "it is no JSON in UTF-8": "ce n'est pas du JSON en UTF-8",
    "the body must be a JSON object": "le corps doit être un objet JSON",
    "is no field of this call": "n'est pas un champ de cet appel",
    "is given twice": "est donné deux fois",
    "must be a list": "doit être une liste",
    "must be an object": "doit être un objet",
    'must be an object such as {"currency": "EUR", "amount": "12.50"}': (
        'doit être un objet tel que {"currency": "EUR", "amount": "12.50"}'
    ),
    "is nested too deep": "est imbriqué trop profondément",
    "is required: an ISO 4217 code such as EUR": "est obligatoire : un code ISO 4217 tel que EUR",
    "is required: a decimal text such as 12.50": "est obligatoire : un nombre décimal tel que 12.50",
    "{0} is no plain decimal such as 12.50": "{0} n'est pas un nombre décimal simple tel que 12.50",
    "{0} has more than the {1} decimals of {2}": "{0} a plus que les {1} décimales de {2}",
    "{0} is no ISO 4217 currency": "{0} n'est pas une devise ISO 4217",
    "is too large": "est trop grand",
    "must be a moment such as 2026-03-31T09:30:00Z": "doit être un instant tel que 2026-03-31T09:30:00Z",
    "must be base64 text": "doit être un texte en base64",
    "must be a text": "doit être un texte",
    "contains half of a character (a lone surrogate)": "contient une moitié de caractère (demi-code isolé)",
    "must be true or false": "doit être true ou false",
    "must be a whole number": "doit être un nombre entier",
    "is out of range": "est hors des bornes",
    "must be a number": "doit être un nombre",
    "this address already signs in": "cette adresse se connecte déjà",
    "{0} is not part of this installation": "{0} ne fait pas partie de cette installation",
    "is no query parameter of this call": "n'est pas un paramètre de cet appel",
    "this call takes no body": "cet appel ne prend pas de corps",
    "send application/json, not {0}": "envoyez du application/json, pas du {0}",
    "differs from the one in the path": "diffère de celui du chemin",
    "contradicts another parameter": "contredit un autre paramètre",
    "differs from the header {0}": "diffère de l'en-tête {0}",
    "send the header {0} with an id of your own (a UUID): a repetition then changes nothing": (
        "envoyez l'en-tête {0} avec un identifiant à vous (un UUID) : une répétition ne change alors rien"
    ),
    "is required: send the header {0}": "est obligatoire : envoyez l'en-tête {0}",
    "the file is empty": "le fichier est vide",
    "send multipart/form-data with the fields file and entity": (
        "envoyez du multipart/form-data avec les champs file et entity"
    ),
    "at most {0} MiB can be uploaded at once: split the file, or compress it": (
        "{0} Mio au plus par envoi : divisez le fichier ou compressez-le"
    ),
    "is no field of this form": "n'est pas un champ de ce formulaire",
    "is given more than once": "est donné plus d'une fois",
    "is required: the code of the entity whose books these are": (
        "est obligatoire : le code de l'entité dont ce sont les livres"
    ),
    "must be delta or stock": "doit être delta ou stock",
    "must be what its rows are, such as items or accounts": "doit dire ce que sont les lignes, par exemple items ou accounts",
    'must be a JSON list such as [{"currency": "EUR", "itemCount": 12}]': (
        'doit être une liste JSON telle que [{"currency": "EUR", "itemCount": 12}]'
    ),
    # Stages of an import, as its progress names them.
    "The file arrives": "Le fichier arrive",
    "The file is read": "Le fichier est lu",
    "The consequences are worked out": "Les conséquences sont calculées",
    "The rows go to the ledger": "Les lignes vont au grand livre",
    "The import is taken back": "L'import est annulé",
    "{0}; {1} rows per second": "{0} ; {1} lignes par seconde",
    'must be a JSON object such as {"dateOrder": "DMY"}': 'doit être un objet JSON tel que {"dateOrder": "DMY"}',
    "{0} belongs to another tenant": "{0} appartient à un autre groupe",
    "there is no such tenant: make one with create-tenant": "ce groupe n'existe pas : créez-le avec create-tenant",
    "address or password is wrong": "l'adresse ou le mot de passe est faux",
    "name entities or say all, not both": "nommez des entités ou dites toutes, pas les deux",
    "there is no such user": "cet utilisateur n'existe pas",
    "a tenant keeps at least one active administrator": "un groupe garde au moins un administrateur actif",
    "there is no such key": "cette clé n'existe pas",
    "this role has rights that you do not have: {0}": "ce rôle a des droits que vous n'avez pas : {0}",
    "these are entities that you may not see yourself": "ce sont des entités que vous ne voyez pas vous-même",
    "role: is not one of the roles": "role : n'est pas l'un des rôles",
    "is unknown": "est inconnu",
    "this needs the permission templates:write": "ceci demande le droit templates:write",
}

CATALOG = texts.Catalog({**texts.FRENCH, **FRENCH})


def say(english: str) -> str:
    """A sentence of this service in the language of who asks; one that is not of the catalog stays as it is."""
    return CATALOG.say(english, context.language())
