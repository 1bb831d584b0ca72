"""The rule (`rule`), pure and written to be read; and the sweep, the same over columns, which asks the rule wherever
there is doubt.
"""
