"""The statement as a page that a person reads: figures, charts, the difference to the month before, and the HTML."""
