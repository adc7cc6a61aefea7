"""A cluster on AWS: what it would cost, made from one template, used, and gone again."""
