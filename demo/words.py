"""How far a text is from what was said, and the texts that the command writes."""

import json


def word_errors(expected, found):
    """Substitutions, deletions and insertions between two sentences."""
    expected, found = expected.split(), found.split()
    row = list(range(len(found) + 1))
    for i, word in enumerate(expected, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(found, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1]


def texts(transcripts):
    """The texts of transcripts in JSON, one after the other as the command writes them."""
    found, decoder, rest = [], json.JSONDecoder(), transcripts.strip()
    while rest:
        transcript, end = decoder.raw_decode(rest)
        found.append(transcript["text"])
        rest = rest[end:].strip()
    return found
