"""How far a text is from what was said."""


def word_errors(expected, found):
    """Substitutions, deletions and insertions between two sentences."""
    expected, found = expected.split(), found.split()
    row = list(range(len(found) + 1))
    for i, word in enumerate(expected, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(found, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1]
