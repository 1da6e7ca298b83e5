"""The report of `make demo`: what it reads, draws and writes."""
