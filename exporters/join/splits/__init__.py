"""Which node gave a run of Slurm how many cards, where nobody saw it."""
