"""Training, validation, prediction and export: each a loop one can read."""
