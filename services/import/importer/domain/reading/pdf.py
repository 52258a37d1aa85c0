"""Hybrid invoices: a PDF that carries its data as embedded XML (Factur-X, ZUGFeRD, XRechnung)."""

from __future__ import annotations

import io
import logging

from importer.domain.texts import Unreadable

# The names that the standards prescribe, most specific first; anything else ending in .xml is tried after them.
_NAMES = ("factur-x.xml", "xrechnung.xml", "zugferd-invoice.xml")


def embedded_xml(data: bytes) -> list[bytes]:
    """The XML files inside, the best named first. Raises: Unreadable PDF_PROTECTED, PDF_DAMAGED, PDF_WITHOUT_DATA."""
    import pypdf  # Only here: it takes 30 MB that a process reading lists does not need.

    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("PDF_PROTECTED")
        found = [
            (name.lower(), bytes(content))
            for name, contents in reader.attachments.items()
            for content in contents
            if name.lower().endswith(".xml")
        ]
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable("PDF_DAMAGED") from error
    if not found:
        raise Unreadable("PDF_WITHOUT_DATA")
    found.sort(key=lambda entry: _NAMES.index(entry[0]) if entry[0] in _NAMES else len(_NAMES))
    return [content for _, content in found]
