"""Which claim lives inside which, over time: joins on (machine, key), and one by one where a link is not plain."""
