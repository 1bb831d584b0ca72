"""A whole period by columns: from the tables to the books, and from the books to seals.

What comes out is what going node-day by node-day makes, to the byte; the tests hold the two together.

* `rows`, `reading`, `days`, `ties`, `placing`: the claims of one day after the other, each read once;
* `site`: the machines of a day, what they had, and a hash of all inputs of each node-day;
* `marks`, `partners`: days of which nothing has changed, known without reading them;
* `columns`, `cards`: the node-days that are new, as `accounting.reconcile.sweep` takes them;
* `postings`, `ranks`: what it makes of them, as rows in their order;
* `image`, `staging`, `booking`: those rows in the books;
* `working`, `run`: a day, a range, here or in several processes;
* `canon`: the text that a seal is taken over;
* `pages`, `packed`, `texts`, `readers`, `garbage`: large answers of the database, and who reads them.
"""
