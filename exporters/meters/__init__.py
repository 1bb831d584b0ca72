"""Counters over time: of cards, of ports, of jobs; and the fabric's diagnosis."""
