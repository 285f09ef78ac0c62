"""What a curve means: diagnosis, advice, comparison and sweep, computed from tables alone."""
