"""How long after a word was spoken its text came."""

import difflib
import re


def words_of(text):
    """The words of a text, without marks and in small letters."""
    return [word for word in re.sub(r"[^\w' ]", " ", text.lower()).split() if word.strip("'")]


def delays(spoken, told):
    """(delays of the words that were told as they were in the end, words that were not).

    `spoken` is [(word, when it ends)] of the final text, and `told` is [(text, when it came)] in order.
    """
    final = [(part, end) for word, end in spoken for part in words_of(word)]
    came = [(part, when) for text, when in told for part in words_of(text)]
    matcher = difflib.SequenceMatcher(None, [w for w, _ in final], [w for w, _ in came], autojunk=False)
    found = []
    for at, other, count in matcher.get_matching_blocks():
        found += [came[other + i][1] - final[at + i][1] for i in range(count)]
    return found, len(final) - len(found)
