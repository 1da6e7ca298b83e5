"""Latency under Paddle-Lite on a phone or on this machine. Needs the standard library alone, so it can be copied."""
