"""Spark: starting it, its Java, its jobs, and its errors in a few lines."""
