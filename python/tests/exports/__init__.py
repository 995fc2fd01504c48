"""Programs of every kind that `torch.export` writes, without an operator or a pass of ours."""
