"""Prometheus text: the fast reader and the fast writer, both proved equal to prometheus-client.

`exporters.exposition.family` has what is written, `writer` writes it, `page` keeps one round of it in every form that
a scraper may ask for (`negotiate`), and `reader` reads what others wrote.
"""
