"""What a refusal says, in French: a catalog by the English sentence, with places for what it names.

Rules and use cases refuse in English and know no language; the guard of the server (and the gateway's answer) says it
again in the caller's. A service's catalog is FRENCH in its texts.py, {"the case is {0}": "le dossier est {0}"}: the
places are those of the f-string, in their order. What stands in a place is said in French too when the catalog knows
it. A sentence that no catalog knows stays as it is: a peer has said it in the right language already.
"""

import re
from collections.abc import Mapping

from kit.errors import Refused

_PLACE = re.compile(r"\{(\d)\}")
# A sentence said back by somebody else may be long; what is longer than any of ours is not looked up.
LENGTH_MAX = 2000


class Catalog:
    """French by English. Exact sentences first, then those with places, the ones with most words of their own first."""

    def __init__(self, french: Mapping[str, str]) -> None:
        self._exact = {english: text for english, text in french.items() if not _PLACE.search(english)}
        with_places = [(english, text) for english, text in french.items() if _PLACE.search(english)]
        with_places.sort(key=lambda pair: len(_PLACE.sub("", pair[0])), reverse=True)
        self._patterns = [(_pattern(english), text) for english, text in with_places]

    def say(self, english: str, language: str) -> str:
        """The sentence in this language ("en", "fr"); as it is when it is not known."""
        if language != "fr" or not english or len(english) > LENGTH_MAX:
            return english
        if (exact := self._exact.get(english)) is not None:
            return exact
        for pattern, text in self._patterns:
            if (found := pattern.fullmatch(english)) is not None:
                said = {name: self.say(value, language) for name, value in found.groupdict().items()}
                return _PLACE.sub(lambda place, said=said: said[f"p{place[1]}"], text)  # type: ignore[misc]
        return english

    def refusal(self, refused: Refused, language: str) -> Refused:
        """The same refusal, its sentence and those of its fields in this language; reason and paths stay."""
        if language != "fr":
            return refused
        fields = {path: self.say(text, language) for path, text in refused.fields.items()}
        if refused.fields and refused.message == listed(refused.fields):
            message = listed(fields)
        else:
            message = self.say(refused.message, language)
        said = Refused(refused.code, refused.reason, message, fields)
        said.metadata = refused.metadata
        return said


def listed(fields: Mapping[str, str]) -> str:
    """Wrong fields as one sentence: the first five, each with its path."""
    return "; ".join(f"{path}: {text}" for path, text in list(fields.items())[:5])


def _pattern(english: str) -> re.Pattern[str]:
    written, end = [], 0
    for place in _PLACE.finditer(english):
        written += [re.escape(english[end : place.start()]), f"(?P<p{place[1]}>.*)"]
        end = place.end()
    return re.compile("".join([*written, re.escape(english[end:])]), re.DOTALL)


# What kit itself refuses with.
FRENCH = {
    "the database cannot be reached": "la base de données est injoignable",
    "another change was under way; try again": "une autre modification était en cours ; réessayez",
    "the time for this call is over": "le temps imparti à cet appel est écoulé",
    "no database connection was free in time": "aucune connexion à la base n'était libre à temps",
    "something went wrong on our side": "une erreur s'est produite de notre côté",
    "every call says how long it will wait": "chaque appel doit dire combien de temps il attend",
    "sign in first": "connectez-vous d'abord",
    "this needs the permission {0}": "ceci demande le droit {0}",
    "the token has expired": "le jeton a expiré",
    "the token is not valid": "le jeton n'est pas valable",
    "tokens cannot be checked at the moment": "les jetons ne peuvent pas être vérifiés pour le moment",
    "no time left to call {0}": "il ne reste plus de temps pour appeler {0}",
    "events before number {0} are no longer kept": "les événements d'avant le numéro {0} ne sont plus conservés",
    "this request id was used for a request with other content": (
        "cet identifiant de requête a déjà servi pour une requête au contenu différent"
    ),
    "there is no file {0}": "le fichier {0} n'existe pas",
    "the file store cannot be reached": "l'espace des fichiers est injoignable",
    # kit.validation
    "is required": "est obligatoire",
    "is empty": "est vide",
    "has {0} {1}; at least {2} are needed": "a {0} {1} ; il en faut au moins {2}",
    "has {0} {1}; at most {2} are allowed": "a {0} {1} ; {2} au plus sont admis",
    "elements": "éléments",
    "characters": "caractères",
    "bytes": "octets",
    "{0} is no known value": "{0} n'est pas une valeur connue",
    "is {0}; at least {1} is needed": "vaut {0} ; il faut au moins {1}",
    "is {0}; at most {1} is allowed": "vaut {0} ; {1} au plus est admis",
    "contains a zero character": "contient un caractère nul",
    "does not match {0}": "ne correspond pas à {0}",
    "must be one of {0}": "doit être l'une des valeurs {0}",
    "is no uuid": "n'est pas un identifiant (UUID)",
    "is no date": "n'est pas une date (AAAA-MM-JJ)",
    "is no currency": "n'est pas une devise ISO 4217",
    "is no country": "n'est pas un code de pays ISO 3166",
    "is no email": "n'est pas une adresse e-mail",
    "is no language": "n'est pas un code de langue",
    "is no {0}": "n'a pas la forme attendue ({0})",
    # kit.listing
    "a filter has at most {0} characters": "un filtre a {0} caractères au plus",
    "cannot read the filter from character {0}: {1}": "le filtre est illisible à partir du caractère {0} : {1}",
    "cannot filter by {0}; known: {1}": "impossible de filtrer par {0} ; champs connus : {1}",
    "expected AND and a comparison at character {0}: {1}": (
        "AND et une comparaison sont attendus au caractère {0} : {1}"
    ),
    "{0} is no value for {1}": "{0} n'est pas une valeur de {1}",
    "cannot order by {0}; known: {1}": "impossible de trier par {0} ; champs connus : {1}",
    "page_size is not negative": "page_size n'est pas négatif",
    "this page token is not one of ours": "ce jeton de page n'est pas l'un des nôtres",
    "the file store does not accept our credentials": "l'espace des fichiers refuse nos identifiants",
    "the file store has no such bucket": "l'espace des fichiers n'a pas ce compartiment",
    "this download link is not valid": "ce lien de téléchargement n'est pas valable",
    "this download link has expired": "ce lien de téléchargement a expiré",
}
