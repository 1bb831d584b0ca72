"""How a breach of an invariant is mended, in a sentence for whoever runs `meterbridge check`.

What was read and what was booked is only ever added to, so whatever differs was changed by somebody else than
meterbridge: nothing can be worked out anew from what is not there any more, and a copy of the ledger is what mends it.
"""

from __future__ import annotations

from accounting.periods.proofs import Breach

_BACK = (
    "something else than meterbridge changed the ledger: stop exporter and service, take back the newest copy for "
    "which `meterbridge check` holds (docs/backup.md), then `meterbridge ingest --since` the day of that copy and "
    "`meterbridge reconcile`"
)

_SPECIAL = {
    "a seal kept outside is a month's": (
        "compare the seal, 64 hexadecimal digits, with what was written down; if it is right, its month or one before "
        "it was replaced: take back a copy from before (docs/backup.md)"
    ),
}


def mend(breach: Breach) -> str:
    """What to do about a breach."""
    return _SPECIAL.get(breach.invariant, _BACK)
