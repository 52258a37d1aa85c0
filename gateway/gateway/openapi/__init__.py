"""The OpenAPI 3.1 document: routes, fields, limits and words from the descriptors, hand-written routes beside them."""

from gateway.openapi.whole import document, register

__all__ = ["document", "register"]
