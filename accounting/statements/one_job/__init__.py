"""One run of a job as its owner asks for it: what it held, how it was used, what it costs, and what to do about it."""
