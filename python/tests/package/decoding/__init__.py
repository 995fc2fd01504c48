"""How tokens are chosen, beside other implementations."""
