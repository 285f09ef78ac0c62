"""Who trains next, and whether it is alive."""
