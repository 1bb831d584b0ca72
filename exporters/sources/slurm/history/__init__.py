"""Slurm's past: accounting rows and node events, from sacct or straight from slurmdbd's database."""
