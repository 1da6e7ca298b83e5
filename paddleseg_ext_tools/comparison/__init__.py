"""Tables and pages that set models, or the runtimes of one model, side by side."""
