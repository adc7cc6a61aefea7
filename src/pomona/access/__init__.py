"""What a machine and a set of credentials can do, and the rights that each role needs."""
