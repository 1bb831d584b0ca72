"""Slurm through slurmrestd, for hosts without its commands."""
