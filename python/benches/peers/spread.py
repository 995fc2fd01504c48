"""Medians and quartiles, as the tables have them."""

import statistics


def spread(values):
    """[lower quartile, median, upper quartile]; one value is all three."""
    values = list(values)
    if len(values) == 1:
        return values * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def shown(quartiles, digits):
    low, middle, high = quartiles
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"
