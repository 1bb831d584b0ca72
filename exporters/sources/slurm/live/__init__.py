"""Slurm's present: the queue and the nodes, as slurmctld tells them."""
