"""One part of a site, swept: numbers in, numbers out, the same wherever it runs."""
