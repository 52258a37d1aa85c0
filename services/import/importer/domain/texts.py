"""What a bookkeeper reads when a file, a row or a value is refused, asked about or odd. One stable code, English and
French."""

from __future__ import annotations

FAILURES: dict[str, tuple[str, str]] = {
    "FILE_EMPTY": ("The file is empty.", "Le fichier est vide."),
    "HEADER_ONLY": (
        "The file has a header line and no rows below it.",
        "Le fichier ne contient que la ligne d'en-tête, aucune donnée.",
    ),
    "FILE_TOO_LARGE": ("The file is larger than {limit_mb} MB.", "Le fichier dépasse {limit_mb} Mo."),
    "FILE_BINARY": (
        "This is neither a text file nor a spreadsheet. Export the list as CSV or XLSX.",
        "Ce n'est ni un fichier texte ni un classeur. Exportez la liste en CSV ou en XLSX.",
    ),
    "FILE_ENCODING": ("The file cannot be read as {encoding}.", "Le fichier n'est pas lisible en {encoding}."),
    "FILE_NOT_A_TABLE": (
        "The rows cannot be told apart: a quotation mark is opened and never closed.",
        "Les lignes ne sont pas séparables : un guillemet est ouvert et jamais fermé.",
    ),
    "NO_COLUMNS": (
        "No columns were found: the lines have no separator (; , tab |) in common.",
        "Aucune colonne trouvée : les lignes n'ont pas de séparateur commun (; , tabulation |).",
    ),
    "TOO_MANY_COLUMNS": ("The file has more than {limit} columns.", "Le fichier a plus de {limit} colonnes."),
    "SHEET_DAMAGED": (
        "The spreadsheet is damaged or protected by a password.",
        "Le classeur est endommagé ou protégé par mot de passe.",
    ),
    "SHEET_BOMB": (
        "The spreadsheet unpacks to far more than its size allows and was not opened.",
        "Le classeur, une fois décompressé, dépasse largement la limite ; il n'a pas été ouvert.",
    ),
    "ARCHIVE_NOT_A_SHEET": (
        "The archive holds no file that can be read as a list or an invoice.",
        "L'archive ne contient aucun fichier lisible comme liste ou facture.",
    ),
    "ARCHIVE_IN_ARCHIVE": (
        "The archive holds another archive. Unpack it and upload the files inside.",
        "L'archive contient une autre archive. Décompressez-la et déposez les fichiers.",
    ),
    "ARCHIVE_MIXED": (
        "The files of the archive have different columns ({files} and others). Upload files of one layout together.",
        "Les fichiers de l'archive ont des colonnes différentes ({files}…). Déposez ensemble des fichiers identiques.",
    ),
    "PDF_DAMAGED": ("The PDF is damaged and cannot be opened.", "Le PDF est endommagé et ne peut pas être ouvert."),
    "PDF_PROTECTED": ("The PDF is protected by a password.", "Le PDF est protégé par un mot de passe."),
    "PDF_WITHOUT_DATA": (
        "The PDF holds no invoice data (Factur-X or ZUGFeRD). Upload it as an item's document instead.",
        "Le PDF ne contient pas de données de facture (Factur-X ou ZUGFeRD). Joignez-le plutôt à un poste.",
    ),
    "XML_DAMAGED": ("The XML file is damaged or incomplete.", "Le fichier XML est endommagé ou incomplet."),
    "XML_DOCTYPE": (
        "The XML file declares a document type; such files are not opened as they can carry attacks.",
        "Le fichier XML déclare un type de document ; de tels fichiers ne sont pas ouverts car dangereux.",
    ),
    "XML_UNKNOWN": (
        "XML of the kind {root} is not known: SAF-T, UBL and CII (Factur-X, ZUGFeRD, XRechnung) are.",
        "Le XML de type {root} n'est pas connu ; SAF-T, UBL et CII (Factur-X, ZUGFeRD, XRechnung) le sont.",
    ),
    "SAFT_NO_CUSTOMERS": (
        "The audit file holds no customers and no postings on customers.",
        "Le fichier SAF-T ne contient ni clients ni écritures clients.",
    ),
    "DATEV_OTHER": (
        "This DATEV file holds {name}. Export posting batches (Buchungsstapel) or debtors (Debitoren/Kreditoren).",
        "Ce fichier DATEV contient {name}. Exportez des écritures (Buchungsstapel) ou des débiteurs.",
    ),
    "DATEV_DAMAGED": ("The DATEV file lacks its header lines.", "Les lignes d'en-tête du fichier DATEV manquent."),
    "JSON_DAMAGED": ("The JSON file is damaged at line {line}.", "Le fichier JSON est endommagé à la ligne {line}."),
    "JSON_NO_ROWS": (
        "The JSON file holds no list of rows, or more than one.",
        "Le fichier JSON ne contient pas de liste de lignes, ou en contient plusieurs.",
    ),
    "LEDGER_REFUSED": ("The ledger refused the rows: {detail}", "Le grand livre a refusé les lignes : {detail}"),
    "INTERRUPTED": (
        "Reading the file failed repeatedly: {detail}",
        "La lecture du fichier a échoué à plusieurs reprises : {detail}",
    ),
    "WORKER_DIED": (
        "Each process that read the file ended with it: the file may be too large for this machine. Split it and try again.",
        "Chaque processus qui lisait le fichier s'est arrêté : il est peut-être trop gros. Découpez-le et réessayez.",
    ),
    "APPLY_INTERRUPTED": (
        "Applying the file stopped repeatedly. Rows already in the ledger stay; upload the file again, none is taken twice.",
        "L'application s'est arrêtée à plusieurs reprises. Les lignes prises restent ; déposez à nouveau le fichier,"
        " aucune ne sera prise deux fois.",
    ),
    "ARROW_UNREADABLE": (
        "The rows cannot be read as Arrow: {detail}",
        "Les lignes ne sont pas lisibles comme Arrow : {detail}",
    ),
    "FILE_DAMAGED": (
        "The file that arrived is not the file that was announced (its SHA-256 differs). Upload it again.",
        "Le fichier reçu n'est pas celui qui était annoncé (SHA-256 différent). Déposez-le à nouveau.",
    ),
    "TOO_LARGE_AS_A_WHOLE": (
        "This file must be held in memory as a whole, which is done up to {limit_mb} MB. Split it by customer.",
        "Ce fichier doit tenir entier en mémoire, ce qui se fait jusqu'à {limit_mb} Mo. Découpez-le par client.",
    ),
    "LEDGER_UNREACHABLE": (
        "The ledger could not be reached: {detail}. Apply the import again; rows already taken are not taken twice.",
        "Le grand livre est injoignable : {detail}. Relancez l'application ; aucune ligne ne sera prise deux fois.",
    ),
}

REASONS: dict[str, tuple[str, str]] = {
    "missing": ("is empty and must not be", "est vide alors qu'il est obligatoire"),
    "dateImpossible": ("is not a date that exists", "n'est pas une date existante"),
    "dateYear": ("has a year out of range (1900 to 2200)", "a une année hors limites (1900 à 2200)"),
    "dateTwoDigitYear": ("has a year of two digits", "a une année à deux chiffres"),
    "amountNotANumber": ("is not an amount", "n'est pas un montant"),
    "daysNotANumber": ("is not a number of days", "n'est pas un nombre de jours"),
    "amountTooLarge": ("is larger than any amount that can be kept", "dépasse le plus grand montant possible"),
    "currencyUnknown": ("is not an ISO 4217 currency code", "n'est pas un code devise ISO 4217"),
    "duplicateKey": (
        "appears in several rows of this file; none of them is taken",
        "figure sur plusieurs lignes du fichier ; aucune n'est retenue",
    ),
    "formulaCell": ("is a formula", "est une formule"),
    "errorCell": ("is a spreadsheet error", "est une erreur de tableur"),
    "nulByte": ("contains a NUL character", "contient un caractère NUL"),
    "tooLong": ("is longer than allowed", "est trop long"),
    "columnCount": (
        "the row does not have as many columns as the header",
        "la ligne n'a pas autant de colonnes que l'en-tête",
    ),
    "rowNotAnObject": ("the row is no record with named values", "la ligne n'est pas un enregistrement nommé"),
    "rowUnreadable": ("the row is damaged", "la ligne est endommagée"),
    "fileUnreadable": ("the file could not be read", "le fichier n'a pas pu être lu"),
    "digitsLost": (
        "was turned into a rounded number by a spreadsheet; its digits are lost",
        "a été arrondi par un tableur ; ses chiffres sont perdus",
    ),
    "emailInvalid": ("is not an e-mail address", "n'est pas une adresse e-mail"),
    "flagUnknown": ("is neither yes nor no", "n'est ni oui ni non"),
    "debitCreditUnknown": ("is neither debit nor credit", "n'est ni débit ni crédit"),
    "itemTypeUnknown": ("is an item type the profile does not name", "est un type de pièce absent du profil"),
    "unknownToLedger": ("is not known to the ledger", "est inconnu du grand livre"),
    "signImpossible": ("has a sign that its kind cannot have", "a un signe impossible pour son type"),
    "keyChanged": (
        "differs from what this identifier had before; a key is never moved",
        "diffère de la valeur connue de cet identifiant ; une clé ne change jamais",
    ),
    "unreadable": ("cannot be stored", "ne peut pas être enregistré"),
    "unitContradicts": (
        "belongs to another company than the customer number",
        "appartient à une autre société que le numéro de client",
    ),
    "monthUnknown": ("is not a month", "n'est pas un mois"),
    "coverKindUnknown": ("is neither insurance nor guarantee", "n'est ni assurance ni garantie"),
    "endsBeforeStart": ("lies before the first day", "précède le premier jour"),
}

# The ledger's own words for a refused row, and for its columns.
_LEDGER_CODES = {
    "UNKNOWN": "unknownToLedger",
    "MISSING": "missing",
    "UNREADABLE": "unreadable",
    "TOO_LONG": "tooLong",
    "TOO_LARGE": "amountTooLarge",
    "IMPOSSIBLE": "dateImpossible",
    "SIGN": "signImpossible",
    "DUPLICATE_KEY": "duplicateKey",
    "CHANGED_KEY": "keyChanged",
    "CONTRADICTS": "unitContradicts",
}
_LEDGER_FIELDS = {
    "number": "itemNumber",
    "kind": "itemType",
    "initial_minor": "initialAmount",
    "open_minor": "openAmount",
}

WARNINGS: dict[str, tuple[str, str]] = {
    "planUnknown": (
        "What applying would do is not known yet: the ledger did not answer.",
        "L'effet de l'application n'est pas encore connu : le grand livre n'a pas répondu.",
    ),
    "notRolledBack": (
        "It was not taken back: what it brought is in use since ({reason}).",
        "L'import n'a pas été annulé : ce qu'il a apporté a servi depuis ({reason}).",
    ),
    "issueInFuture": (
        "{count} rows have a document date in the future.",
        "{count} lignes ont une date de pièce dans le futur.",
    ),
    "sameFile": (
        "The same content was imported before: {name}.",
        "Le même contenu a déjà été importé : {name}.",
    ),
    "ownedHere": (
        "{count} values were passed over: their fields are kept here, not by the ERP.",
        "{count} valeurs laissées de côté : leurs champs sont tenus ici, pas par l'ERP.",
    ),
    "noHeader": (
        "The file has no header line; columns are named by their position.",
        "Le fichier n'a pas d'en-tête ; les colonnes sont nommées par position.",
    ),
    "dueMissing": (
        "{count} rows have no due date; their items are never chased.",
        "{count} lignes sans échéance ; elles ne seront jamais relancées.",
    ),
    "dueBeforeIssue": ("{count} rows are due before they are issued.", "{count} lignes échues avant leur émission."),
    "dueFarAway": (
        "{count} rows are due more than two years after they are issued.",
        "{count} lignes à plus de deux ans d'échéance.",
    ),
    "settledBeforeIssue": (
        "{count} rows are settled before they are issued.",
        "{count} lignes soldées avant leur émission.",
    ),
    "otherEntity": (
        "The file names company codes {codes}; all rows go to {entity} as chosen.",
        "Le fichier cite les sociétés {codes} ; toutes les lignes vont à {entity} comme choisi.",
    ),
    "skippedLines": (
        "{count} lines were left out as they carry no row ({kinds}).",
        "{count} lignes ignorées car sans donnée ({kinds}).",
    ),
    "itemTypeUnknown": (
        "Item types {values} are not known; their sign decides: debit is an invoice, credit a payment.",
        "Types de pièce {values} inconnus ; le signe décide : débit = facture, crédit = paiement.",
    ),
    "currencyAssumed": (
        "No currency column: all amounts are taken as {currency}.",
        "Pas de colonne devise : montants pris en {currency}.",
    ),
    "issueFrom": ("There is no document date; {column} is used.", "Pas de date de pièce ; {column} est utilisée."),
    "otherSheets": ("Only the sheet {sheet} was read.", "Seule la feuille {sheet} a été lue."),
    "otherPart": (
        "The file holds several lists; {part} was read. Upload it again for {other}.",
        "Le fichier contient plusieurs listes ; {part} a été lue. Déposez-le à nouveau pour {other}.",
    ),
    "otherSeller": (
        "Invoices issued by {sellers}; all go to {entity} as chosen.",
        "Factures émises par {sellers} ; toutes vont à {entity} comme choisi.",
    ),
    "saftBalances": (
        "The items of {count} customers do not add up to the closing balance the file states ({accounts}).",
        "Les postes de {count} clients ne correspondent pas au solde final indiqué ({accounts}).",
    ),
    "instalmentsWithoutAmounts": (
        "{count} invoices name several due dates without their amounts; the first date is taken.",
        "{count} factures citent plusieurs échéances sans montants ; la première date est retenue.",
    ),
    "attachmentUnreadable": (
        "{count} files attached to invoices could not be read.",
        "{count} pièces jointes aux factures n'ont pas pu être lues.",
    ),
    "dueFromTerms": (
        "{count} due dates were computed from payment terms.",
        "{count} échéances ont été calculées d'après les conditions de paiement.",
    ),
    "openNegativeInvoice": (
        "{count} invoices have a negative amount and are taken as credit notes.",
        "{count} factures à montant négatif prises comme avoirs.",
    ),
    "amountRounded": (
        "{count} amounts of {column} have more decimals than their currency and were rounded half to even.",
        "{count} montants de {column} ont plus de décimales que leur devise ; arrondis au pair le plus proche.",
    ),
    "mixedDates": (
        "Column {column} mixes real dates and text dates.",
        "La colonne {column} mêle vraies dates et dates en texte.",
    ),
    "profileContradicted": (
        "The remembered answer for {column} does not fit the values any more; the values decide.",
        "La réponse mémorisée pour {column} ne convient plus ; les valeurs décident.",
    ),
    "localAmount": (
        "Amounts are in the entity's currency ({currency}); document amounts are missing.",
        "Montants en devise de l'entité ({currency}).",
    ),
}

QUESTIONS: dict[str, tuple[str, str]] = {
    "dateOrder": (
        "Every date of {column} can be read with the day or with the month first. Which is it?",
        "Toutes les dates de {column} se lisent avec le jour ou le mois en premier. Lequel ?",
    ),
    "decimalSign": (
        "The amounts of {column} can be read with a point or with a comma as the decimal sign. Which is it?",
        "Les montants de {column} se lisent avec le point ou la virgule comme signe décimal. Lequel ?",
    ),
    "twoDigitYear": (
        "The years of {column} have two digits. Which century is meant?",
        "Les années de {column} ont deux chiffres. Quel siècle ?",
    ),
    "mapping": ("Which column holds {label}?", "Quelle colonne contient {label} ?"),
    "object": ("What are the rows of this file?", "Que contiennent les lignes de ce fichier ?"),
    "currency": (
        "The file names no currency. Which one are the amounts in?",
        "Le fichier ne cite aucune devise. Laquelle ?",
    ),
    "stockGuard": (
        "This complete file would clear {cleared} of {open} open items as paid. Is it really complete?",
        "Ce fichier complet solderait {cleared} postes ouverts sur {open}. Est-il vraiment complet ?",
    ),
    "stockGuardEntity": (
        "This complete file names company codes {codes} and would clear {cleared} of {open} open items."
        " Is it the right entity?",
        "Ce fichier complet cite les sociétés {codes} et solderait {cleared} postes ouverts sur {open}."
        " Est-ce la bonne entité ?",
    ),
    "controlTotals": (
        "The file does not hold what was expected. {differences} Apply it all the same?",
        "Le fichier ne contient pas ce qui était attendu. {differences} L'appliquer quand même ?",
    ),
    "controlCount": (
        "{currency}: {expected} rows expected, {found_count} found.",
        "{currency} : {expected} lignes attendues, {found_count} trouvées.",
    ),
    "controlSum": (
        "{currency}: {expected} expected in all, {found_total} found.",
        "{currency} : {expected} attendus au total, {found_total} trouvés.",
    ),
}


class Unreadable(Exception):
    """A file that cannot be a table of receivables. `code` is stable, the text is for a bookkeeper."""

    def __init__(self, code: str, **values: str) -> None:
        self.code, self.values = code, values
        super().__init__(failure_text(code, "en", **values))


def failure_text(code: str, language: str = "en", **values: str) -> str:
    """The failure in words. Unknown codes are a bug (KeyError)."""
    return FAILURES[code][language == "fr"].format(**values)


def reason_text(code: str, field: str, value: str = "", language: str = "en") -> str:
    """The refusal of one row in words, with the value as written (cut to 80 characters)."""
    texts = REASONS.get(code)
    text = texts[language == "fr"] if texts else code
    shown = value.replace("\x00", "␀").replace("\n", " ")
    shown = f'"{shown[:80]}{"…" if len(shown) > 80 else ""}" ' if value else ""
    return f"{field}: {shown}{text}" if field else f"{shown}{text}"


def from_ledger(field: str, code: str) -> tuple[str, str]:
    """A refusal of the ledger in this service's words: field and code. An unknown code stays as it is."""
    words = field.split("_")
    name = _LEDGER_FIELDS.get(field, words[0] + "".join(word.title() for word in words[1:]))
    return name, _LEDGER_CODES.get(code, code)


def warning_text(code: str, language: str = "en", **values: str) -> str:
    """A warning in words."""
    return WARNINGS[code][language == "fr"].format(**values)


def question_text(code: str, language: str = "en", **values: str) -> str:
    """A question in words."""
    return QUESTIONS[code][language == "fr"].format(**values)
