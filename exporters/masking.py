"""How an address is shown: without what it holds of secrets."""

from __future__ import annotations

import re


def masked(url: str) -> str:
    """A URL without passwords: the user's (up to the last ``@``: a password may hold one) and those in its options."""
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"(?s)(://[^:@/]*):.*@", r"\1:***@", url))
