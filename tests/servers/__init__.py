"""Servers on loopback that tests and benchmarks start and stop themselves."""
