"""Output operators, graph passes over the exported program, and the checks of what was exported."""
