"""A Prolog and an Epilog for Slurm, which drop what `exporters.node.spool` reads: installed beside the code."""
