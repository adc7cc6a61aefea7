"""Clusters: one on this machine, one on machines reached by SSH, and what their hosts need."""
