"""Lengths of time in words."""

from __future__ import annotations


def in_words(seconds: float) -> str:
    """A length of time as a person reads it, in its two largest units: ``25.7 s``, ``4 min 10 s``, ``3 d 2 h``."""
    if seconds == float("inf"):
        return "no end"
    if seconds < 120:
        return f"{seconds:.1f}".rstrip("0").rstrip(".") + " s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
