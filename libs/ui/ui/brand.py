"""The entity's two colours on the customer's page, and the rule that keeps them readable."""

from __future__ import annotations

import re

MIN_CONTRAST = 4.5  # WCAG 2.2, 1.4.3, normal text.
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


def _luminance(color: str) -> float:
    """Relative luminance 0-1 of "#rrggbb". Source: WCAG 2.2, definition of relative luminance."""
    channels = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    """Contrast 1-21 of two colours "#rrggbb". Raises ValueError for anything else."""
    for color in (first, second):
        if not _HEX.fullmatch(color):
            raise ValueError(f"{color!r} is not a colour like #1d4d4a")
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def brand_css(brand: str, brand_ink: str) -> str:
    """The style sheet of one entity's portal: its colour and the text upon it.

    Raises: ValueError when either is no colour, or either text would be hard to read: the ink on the colour, and the
        colour itself as text on white.
    """
    if contrast(brand, brand_ink) < MIN_CONTRAST:
        raise ValueError(
            f"text {brand_ink} on {brand} has a contrast of {contrast(brand, brand_ink):.1f}, at least 4.5"
        )
    if contrast(brand, "#ffffff") < MIN_CONTRAST:
        raise ValueError(f"{brand} on white has a contrast of {contrast(brand, '#ffffff'):.1f}, at least 4.5")
    return f":root{{--brand:{brand};--brand-ink:{brand_ink}}}\n"
