"""What the Slurm sources share: running its commands, and reading what they print. All pure, but for `run_command`."""
