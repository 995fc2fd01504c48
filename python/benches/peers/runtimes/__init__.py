"""One module for each runtime, and what all of them do."""

import time


def milliseconds(work):
    begin = time.perf_counter()
    result = work()
    return 1e3 * (time.perf_counter() - begin), result


class Stepping:
    """A runtime that can be fed token by token.

    It has `encode(features)`, which leaves what it returns inside, and `step(token, position)`, which
    returns the scores of the next token.
    """

    def window(self, features, tokens):
        """Encodes a window and feeds it these tokens; times in milliseconds, scores at both ends."""
        encoder, _ = milliseconds(lambda: self.encode(features))
        times, scores = [], []
        for position, token in enumerate(tokens):
            took, row = milliseconds(lambda: self.step(token, position))
            times.append(took)
            if position in (0, len(tokens) - 1):
                scores.append(row.copy())
        return {"encoder": encoder, "first": times[0], "later": times[1:]}, scores
