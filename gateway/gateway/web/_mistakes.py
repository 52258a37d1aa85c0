"""Ordinary mistakes: what a service refused is said on the page the person came from, with his input kept."""

from flask import g, get_template_attribute
from markupsafe import Markup

from gateway.web import gettext
from kit.errors import Code, Refused
from kit.money import CURRENCIES, AmbiguousAmount, exponent

# What a person can put right himself. Everything else (unknown, not permitted, away) has a page of its own.
ORDINARY = frozenset(
    {Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION, Code.ALREADY_EXISTS, Code.OUT_OF_RANGE, Code.ABORTED}
)


def of(error: Refused) -> str:
    """A sentence for an ordinary mistake; any other refusal is raised again."""
    if error.code not in ORDINARY:
        raise error
    known = _sentence(error.reason)
    if known:
        return known
    if error.reason == "UNKNOWN_TAG" and error.metadata.get("tags"):
        return gettext("These hashtags cannot stand here: %(tags)s.", tags=error.metadata["tags"])
    if error.fields:
        return "; ".join(f"{_field_name(path)}: {text}" for path, text in error.fields.items())
    return error.message[:1].upper() + error.message[1:]


def by_field(error: Refused) -> dict[str, str]:
    """The wrong fields of an ordinary mistake by their name in the form (snake case), to show beside them."""
    return {_snake(path): text for path, text in error.fields.items()}


def amount_text(error: ValueError, currency: str) -> str:
    """What to do about an amount that Money.read did not take."""
    decimals = exponent(currency) if currency in CURRENCIES else 2
    example = f"1250.{'0' * decimals}" if decimals else "1250"
    if isinstance(error, AmbiguousAmount):
        return gettext(
            "This can be read in two ways: write all decimals, and no sign between thousands, such as %(example)s.",
            example=example,
        )
    return gettext("Write an amount such as %(example)s.", example=example)


def say(text: str) -> None:
    """Puts the mistake above the page that is rendered next in this request."""
    banner = get_template_attribute("ui/macros.html", "banner")
    g.banners = [*g.get("banners", ()), Markup(banner("bad", text, urgent=True))]  # noqa: S704 - a macro's own output


def _snake(path: str) -> str:
    last = path.rpartition(".")[2].partition("[")[0]
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in last)


def _field_name(path: str) -> str:
    return _snake(path).replace("_", " ").capitalize()


def _sentence(reason: str) -> str:
    return {
        "ACTION_ALREADY_SENT": gettext("This e-mail has already been sent. It was not sent again."),
        "ACTION_NOT_OWED": gettext("Paid, held or answered in between. The e-mail was not sent."),
        "ITEM_NOT_COLLECTABLE": gettext(
            "A ticked item was paid, held or answered in between. The e-mail was not sent; look at the items again."
        ),
        "MESSAGE_EMPTY": gettext("The message has no text. Write one, or skip the step."),
        "ACTION_ENDED": gettext("This action is over."),
        "ACTION_IS_A_MESSAGE": gettext("This step is an e-mail: send it, or skip it."),
        "NOTHING_COLLECTABLE": gettext("Paid in between. The e-mail was not sent."),
        "CONTACT_MISSING": gettext("Nobody to write to: add a contact with an e-mail address first."),
        "DATE_PAST": gettext("The day is over; choose today or a later one."),
        "HOLD_EXCEEDS_OPEN": gettext("The amount is more than what is open on the item."),
        "ITEM_CLEARED": gettext("An item was settled in between."),
        "CASE_CLOSED": gettext("The case is closed; nothing was changed."),
        "EMAIL_TAKEN": gettext("Somebody signs in with this address already."),
        "ENTITY_CODE_TAKEN": gettext("An entity has this code already."),
        "ROLE_TOO_HIGH": gettext("This role may do more than you may; somebody with that role has to give it."),
    }.get(reason, "")
