"""What the commands share to measure models: systems, runtimes, rounds, weights for timing, counting, drawing."""
