"""The engine against PyTorch, operator by operator; `test_operators.py` is where to start."""
