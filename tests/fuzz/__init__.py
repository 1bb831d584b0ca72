"""Hostile bytes for every parser of what strangers say: ``make fuzz``, and a little of it in ``make test``.

A target is a parser with the errors that it documents. Anything else that it raises, and every input that takes it
longer than `targets.SECONDS`, is a fault of ours: the input is printed, to be added to its corpus with the mend.
"""
