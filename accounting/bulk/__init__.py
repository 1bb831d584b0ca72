"""A whole period at once: from the tables to the books by columns, with the rows that going node-day by node-day makes.

* `rows`, `days`, `ties`: the claims of one day after the other, out of the tables in bulk; each is read once;
* `site`: the machines of a day, what they had, and a hash of all inputs of each node-day;
* `columns`: the node-days that are new, as `accounting.sweep` takes them;
* `postings`, `booking`: what the sweep makes of them, as rows of the books;
* `run`: all of it over a range.
"""
