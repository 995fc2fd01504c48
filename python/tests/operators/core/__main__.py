"""Prints the count."""

from operators.core import report

print(report())
