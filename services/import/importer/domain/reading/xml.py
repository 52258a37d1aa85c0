"""XML from strangers: no entities, no network, no DTD, bounded depth."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from lxml import etree  # type: ignore[import-untyped]

from importer.domain.texts import Unreadable

_SAFE = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "dtd_validation": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
_DECIMAL = re.compile(r"[+-]?\d{1,30}(\.\d{1,20})?|[+-]?\.\d{1,20}")


def looks_like_xml(data: bytes) -> bool:
    head = data[:200].lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\x00")
    return re.match(rb"<\x00?(\?|!|[A-Za-z_])", head) is not None


def parse(data: bytes) -> etree._Element:
    """The root of a small document (an invoice). Raises: Unreadable XML_DAMAGED, XML_DOCTYPE."""
    try:
        root = etree.fromstring(data, etree.XMLParser(**_SAFE))
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Unreadable("XML_DOCTYPE" if b"<!DOCTYPE" in data[:100_000] else "XML_DAMAGED") from error
    if root is None:
        raise Unreadable("XML_DAMAGED")
    _refuse_doctype(root)
    return root


def _refuse_doctype(root: etree._Element) -> None:
    # Neither invoices nor audit files have one; entity bombs and external entities need one.
    if root.getroottree().docinfo.internalDTD is not None:
        raise Unreadable("XML_DOCTYPE")


def root_name(data: bytes) -> tuple[str, str]:
    """Local name and namespace of the root, without reading further. Raises: Unreadable."""
    try:
        for _, element in etree.iterparse(io.BytesIO(data), events=("start",), **_SAFE):
            _refuse_doctype(element)
            return local(element), etree.QName(element).namespace or ""
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Unreadable("XML_DOCTYPE" if b"<!DOCTYPE" in data[:100_000] else "XML_DAMAGED") from error
    raise Unreadable("XML_DAMAGED")


def stream(data: bytes, names: set[str]) -> Iterator[etree._Element]:
    """Each complete element of these local names, freed after use: audit files are large. Raises: Unreadable."""
    try:
        for _, element in etree.iterparse(
            io.BytesIO(data), events=("end",), tag=[f"{{*}}{name}" for name in names], **_SAFE
        ):
            yield element
            element.clear()
            parent = element.getparent()
            while parent is not None and element.getprevious() is not None:
                del parent[0]
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Unreadable("XML_DAMAGED") from error


def local(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def find_all(element: etree._Element | None, path: str) -> list[etree._Element]:
    """Descendants by a path of local names: "PaymentTerms/Note"."""
    if element is None:
        return []
    return element.findall("/".join(f"{{*}}{name}" for name in path.split("/")))


def find(element: etree._Element | None, path: str) -> etree._Element | None:
    found = find_all(element, path)
    return found[0] if found else None


def text(element: etree._Element | None, path: str = "") -> str:
    """The text of the first such element, blanks trimmed and joined; empty when there is none."""
    found = find(element, path) if path else element
    if found is None:
        return ""
    return " ".join("".join(found.itertext()).split())


def first_text(element: etree._Element | None, *paths: str) -> str:
    return next((found for path in paths if (found := text(element, path))), "")


def decimal(value: str) -> Decimal | None:
    """An amount as XML schema writes it; None for anything else."""
    value = value.strip()
    if not _DECIMAL.fullmatch(value):
        return None
    try:
        return Decimal(value)
    except InvalidOperation:
        return None


def plain(value: Decimal) -> str:
    """Digits without an exponent."""
    return format(value, "f")
