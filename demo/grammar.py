"""Reads grammar.txt, draws sentences from it and decides which ones are held out.

The demo model understands exactly the language of grammar.txt.  This module turns that file into
rules, draws random sentences, and splits the language in two: a sentence is held out when a hash
of its text says so, whatever run or machine asks.  The training set therefore can never contain a
sentence of the evaluation set, and no list of sentences has to be stored.
"""

import hashlib
import random
import re
from collections import Counter
from itertools import product
from pathlib import Path

GRAMMAR_FILE = Path(__file__).with_name("grammar.txt")
HELD_OUT_PERCENT = 30
# A word that occurs in fewer sentences than this could lose all of them to the held-out half, and
# a model cannot write a word that it has never heard.  Sentences with such words are for training.
RARE_WORD = 8
# The only rule whose sentences are too many to list (10^7); it is drawn, not enumerated.
NUMBER_RULE = "number"


def parse_alternatives(tokens, position):
    """Parses `a b | c` up to a closing bracket; returns (node, next position)."""
    alternatives, sequence = [], []
    while position < len(tokens) and tokens[position] not in (")", "]"):
        token = tokens[position]
        position += 1
        if token == "|":
            alternatives.append(("sequence", sequence))
            sequence = []
        elif token in ("(", "["):
            inner, position = parse_alternatives(tokens, position)
            position += 1  # the closing bracket
            sequence.append(inner if token == "(" else ("optional", inner))
        elif token.startswith("<"):
            sequence.append(("rule", token[1:-1]))
        else:
            sequence.append(("word", token))
    alternatives.append(("sequence", sequence))
    return ("choice", alternatives), position


def load(path=GRAMMAR_FILE):
    """Returns {rule name: node}."""
    rules = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, body = line.split(":=")
        tokens = re.findall(r"<\w+>|[()\[\]|]|\w+", body)
        rules[name.strip()], _ = parse_alternatives(tokens, 0)
    return rules


def draw(rules, node, rng):
    """One random list of words from `node`."""
    kind, value = node
    if kind == "word":
        return [value]
    if kind == "rule":
        return draw(rules, rules[value], rng)
    if kind == "optional":
        return draw(rules, value, rng) if rng.random() < 0.5 else []
    if kind == "choice":
        return draw(rules, rng.choice(value), rng)
    return [word for part in value for word in draw(rules, part, rng)]


def enumerate_all(rules, node):
    """Every list of words that `node` can produce."""
    kind, value = node
    if kind == "word":
        return [[value]]
    if kind == "rule":
        return enumerate_all(rules, rules[value])
    if kind == "optional":
        return [[]] + enumerate_all(rules, value)
    if kind == "choice":
        return [words for part in value for words in enumerate_all(rules, part)]
    parts = [enumerate_all(rules, part) for part in value]
    return [[word for part in combination for word in part] for combination in product(*parts)]


class Language:
    """The sentences of the grammar, split into training and held-out ones."""

    def __init__(self, path=GRAMMAR_FILE):
        self.rules = load(path)
        topics = [part[1][0][1] for part in self.rules["sentence"][1]]
        listed = []
        for topic in topics:
            if topic != NUMBER_RULE:
                every = enumerate_all(self.rules, self.rules[topic])
                listed += [" ".join(words) for words in every]
        self.listed = sorted(set(listed))
        counts = Counter(word for sentence in self.listed for word in set(sentence.split()))
        self.rare = {word for word, count in counts.items() if count < RARE_WORD}
        digits = {words[0] for words in enumerate_all(self.rules, self.rules["digit"])}
        self.words = sorted(set(counts) | digits)
        self.rare -= digits

    def is_held_out(self, sentence):
        if self.rare & set(sentence.split()):
            return False
        digest = hashlib.sha256(sentence.encode()).digest()
        return int.from_bytes(digest[:4], "big") % 100 < HELD_OUT_PERCENT

    def draw_training(self, rng):
        """Mostly by topic, as a speaker would; a part evenly over the listed sentences, because a
        few topics hold most of them."""
        while True:
            if rng.random() < 0.35:
                sentence = rng.choice(self.listed)
            else:
                sentence = " ".join(draw(self.rules, self.rules["sentence"], rng))
            if not self.is_held_out(sentence):
                return sentence

    def evaluation_sentences(self, count, seed=2024):
        """Held-out sentences: all the listed ones, shuffled, then numbers, up to `count`."""
        rng = random.Random(seed)
        chosen = [sentence for sentence in self.listed if self.is_held_out(sentence)]
        rng.shuffle(chosen)
        chosen = chosen[: count * 3 // 4]
        while len(chosen) < count:
            sentence = " ".join(draw(self.rules, self.rules[NUMBER_RULE], rng))
            if self.is_held_out(sentence) and sentence not in chosen:
                chosen.append(sentence)
        return chosen
