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


def shown(spoken, lines):
    """(delays of the words from their end until they first stood in a line as they are in the end, words that never
    did).

    `lines` is [(all text that is shown, when)] in order.
    """
    final = [(part, end) for word, end in spoken for part in words_of(word)]
    first = {}
    for line, when in lines:
        # What was not spoken yet cannot be meant; the end of a word is known to a few tenths.
        heard = sum(end <= when + 0.3 for _, end in final)
        matcher = difflib.SequenceMatcher(None, [w for w, _ in final[:heard]], words_of(line), autojunk=False)
        for at, _, count in matcher.get_matching_blocks():
            for word in range(at, at + count):
                first.setdefault(word, when)
    return [when - final[word][1] for word, when in first.items()], len(final) - len(first)
