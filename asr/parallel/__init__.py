"""Functions mapped over many arguments by threads, processes or the nodes of a cluster, with the results in order.

Its modules are imported one by one: `processes` needs joblib, which recognition on a CPU does without.
"""
