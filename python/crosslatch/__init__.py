"""Crosslatch for Python: encoder–decoder models whose cross-attention cache is part of the graph.

`import crosslatch.ops` defines the two operators that such graphs use.
"""
