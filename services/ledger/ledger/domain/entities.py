"""Entities: the defaults of a country."""

_ZONES = {
    "FR": "Europe/Paris", "DE": "Europe/Berlin", "ES": "Europe/Madrid", "IT": "Europe/Rome", "GB": "Europe/London",
    "IE": "Europe/Dublin", "BE": "Europe/Brussels", "NL": "Europe/Amsterdam", "LU": "Europe/Luxembourg",
    "CH": "Europe/Zurich", "AT": "Europe/Vienna", "PT": "Europe/Lisbon", "PL": "Europe/Warsaw",
    "SE": "Europe/Stockholm", "DK": "Europe/Copenhagen", "NO": "Europe/Oslo", "FI": "Europe/Helsinki", "CZ": "Europe/Prague",
    "MA": "Africa/Casablanca", "TN": "Africa/Tunis", "JP": "Asia/Tokyo", "SG": "Asia/Singapore", "IN": "Asia/Kolkata",
}  # fmt: skip
_LANGUAGES_BY_COUNTRY = {
    **dict.fromkeys(("FR", "MC", "LU", "MA", "TN", "SN", "CI"), "fr"),
    **dict.fromkeys(("DE", "AT", "LI"), "de"),
    **dict.fromkeys(("ES", "MX", "AR", "CL", "CO", "PE"), "es"),
}


def default_time_zone(country: str) -> str:
    """The zone of a country that has one; UTC where there are several or we do not know."""
    return _ZONES.get(country, "UTC")


def default_language(country: str) -> str:
    """The language of messages in a country: en where it speaks none of ours, or several of them."""
    return _LANGUAGES_BY_COUNTRY.get(country, "en")
