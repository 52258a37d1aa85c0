"""Limits, exposure, scores and guarantees."""
