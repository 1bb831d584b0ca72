"""Reconciling a whole site's month at once, with the postings that `accounting.reconcile` makes node-day by node-day.

`accounting.reconcile.rule.reconcile` is the rule, written to be read: it looks at every moment of a node-day by itself.
At nearly all moments nothing is in doubt: all that is held fits, and each claim's posting is what it holds times its
seconds. So the sweep asks the scalar rules only where there is doubt, and does the rest with sorted arrays:

* `links`: which claim lives inside which, by joins on (machine, key); what is not plain goes to `find_links`;
* `constant_stretches`, `time_cells`: stretches of a machine's time in which nothing but claims changes, as the
  scalar rules see them;
* `counting`: sums over sorted begins and ends tell what is free in pools and in claims (`containers`, `stack`), and
  where more is held than there is: those stretches are *windows*; `pieces` are the postings outside of them, by day;
* `cards`: where cards are known and that may make a difference: those stretches are windows, too;
* `node_day_of`, `windows`: windows as (parts of) node-days through `reconcile`, and its postings added to the rest;
* `chunk`, `prepare`, `engines`, `run`: all of it by ranges of machines, here or elsewhere.

Node-days, and parts of them, are independent: the sum of the parts is the node-day. The tests compare the two.
"""

from __future__ import annotations

from accounting.reconcile.sweep.run import Batch, Sweep, Unplaced
from accounting.reconcile.sweep.site_columns import Columns, Keys, Names
from accounting.reconcile.sweep.table import ACCOUNTS, COLUMNS

__all__ = [
    "ACCOUNTS",
    "COLUMNS",
    "Batch",
    "Columns",
    "Keys",
    "Names",
    "Sweep",
    "Unplaced",
]
