"""The books: double entry, append only. What they promise:

1. Every transaction's postings sum to zero for each GPU model; a transaction that would not is refused.
2. Rows of ``transactions`` and ``postings`` are only ever added. A change is a *reversal* of what stood and a new
   transaction; in a closed period nothing stands corrected, the difference is a *correction* booked in the first open
   period after it, and names the transaction it corrects.
3. A node-day is keyed by the hash of its inputs and of the rules. The same again is a no-op, so is a change of inputs
   that does not change the postings, and so a correction is booked once.
4. A node-day has at most one transaction standing in its own period (``node_days.transaction_id``); everything else in
   that period is reversed. What stands, plus the corrections of it, is what the newest evidence says.
5. On the six dispositions no quantity that stands is negative, and together they are the capacity.

Balances and usage are sums over postings; they are never stored. `accounting.periods.check` proves all this on a live
ledger.
"""
