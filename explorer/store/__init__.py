"""What is kept: runs, epochs, scores, the queue, checkpoints and archives."""
