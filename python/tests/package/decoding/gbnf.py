"""Random grammars in GBNF, and what obeys them: slowly, letter by letter, from the grammar's tree.

A grammar is a list of rules; what a rule says is a tree:

    ("text", "letters")  ("class", letters, is_negated)  ("any",)  ("rule", number)
    ("all", [trees])  ("one", [trees])  ("times", tree, least, most or None)

An acceptor holds the ways on: lists of trees that are still to be read, nested as pairs so that they can
share their ends.  Sentences are UTF-8, so a letter may be begun and not be there yet.
"""

import itertools

LETTERS = "abcdefghiklmnoprstuw"
OTHERS = "éß€"


class Grammar:
    """A random grammar whose sentences are made of some words and letters."""

    def __init__(self, random, words):
        self.random, self.words = random, words
        count = random.randint(1, 5)
        # A rule calls only later ones, or itself at its end: others may never end, or begin with themselves.
        self.rules = [self.tree(number, count, 3) for number in range(count)]
        for number in range(count):
            if random.random() < 0.4:
                again = ("all", [self.text(), ("rule", number)])
                self.rules[number] = ("one", [self.rules[number], again])

    def text(self):
        words = [self.random.choice(self.words) for _ in range(self.random.randint(1, 2))]
        return ("text", self.random.choice([" ", "", ", "]).join(words))

    def tree(self, number, count, depth):
        random = self.random
        kinds = ["text"] * 3 + ["class", "any"]
        if number + 1 < count:
            kinds += ["rule"] * 3
        if depth:
            kinds += ["all", "all", "one", "one", "times"]
        kind = random.choice(kinds)
        if kind == "text":
            return self.text()
        if kind == "class":
            letters = random.sample(LETTERS + OTHERS + " .", random.randint(1, 9))
            return ("class", "".join(letters), random.random() < 0.3)
        if kind == "any":
            return ("any",)
        if kind == "rule":
            return ("rule", random.randint(number + 1, count - 1))
        if kind == "times":
            least, most = random.choice([(0, None), (1, None), (0, 1), (2, 2), (1, 3), (2, None), (0, 2)])
            inner = self.tree(number, count, 0)
            return ("times", inner, least, most)
        trees = [self.tree(number, count, depth - 1) for _ in range(random.randint(2, 4))]
        return (kind, trees)

    def __str__(self):
        named = [f"{name(i)} ::= {self.written(tree)}" for i, tree in enumerate(self.rules)]
        self.random.shuffle(named)
        return "\n".join(named)

    def written(self, tree):
        match tree:
            case ("text", text):
                return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
            case ("class", letters, is_negated):
                return "[" + "^" * is_negated + "".join(self.letter(letter) for letter in letters) + "]"
            case ("any",):
                return "."
            case ("rule", number):
                return name(number)
            case ("all", trees):
                return "(" + " ".join(map(self.written, trees)) + ")"
            case ("one", trees):
                return "(" + " | ".join(map(self.written, trees)) + ")"
            case ("times", inner, least, most):
                short = {(0, None): "*", (1, None): "+", (0, 1): "?"}
                count = f"{{{least}}}" if least == most else f"{{{least},{'' if most is None else most}}}"
                return f"({self.written(inner)})" + short.get((least, most), count)

    def letter(self, letter):
        """A letter, or its number."""
        return letter if self.random.random() < 0.8 else f"\\U{ord(letter):08x}"


def name(number):
    return "root" if number == 0 else f"part-{number}"


class Acceptor:
    """Says of bytes whether a sentence begins with them, and whether they are one."""

    def __init__(self, grammar):
        self.rules = grammar.rules
        # Tokenizers put a space in front of a first word.
        space = ("text", " ")
        self.begin = self.opened({(("rule", 0), ()), (space, (("rule", 0), ()))})
        self.known = {b"": (self.begin, b"")}

    def opened(self, ways):
        """The ways with a letter, or nothing, at their beginning."""
        done, found = set(), set()
        todo = list(ways)
        while todo:
            way = todo.pop()
            if way in done:
                continue
            done.add(way)
            if way == ():
                found.add(way)
                continue
            tree, rest = way
            match tree:
                case ("text", ""):
                    todo.append(rest)
                case ("rule", number):
                    todo.append((self.frozen(self.rules[number]), rest))
                case ("all", trees):
                    for inner in reversed(trees):
                        rest = (inner, rest)
                    todo.append(rest)
                case ("one", trees):
                    todo.extend((inner, rest) for inner in trees)
                case ("times", inner, least, most):
                    if least == 0:
                        todo.append(rest)
                    if most != 0:
                        left = ("times", inner, max(least - 1, 0), None if most is None else most - 1)
                        todo.append((inner, (left, rest)))
                case _:
                    found.add(way)
        return found

    def frozen(self, tree):
        """The tree as something that can be in a set."""
        match tree:
            case (("all" | "one") as kind, trees):
                return (kind, tuple(map(self.frozen, trees)))
            case ("times", inner, least, most):
                return ("times", self.frozen(inner), least, most)
            case _:
                return tree

    def after(self, ways, letter):
        on = set()
        for way in ways:
            if way == ():
                continue
            tree, rest = way
            match tree:
                case ("text", text):
                    if text[0] == letter:
                        on.add((("text", text[1:]), rest))
                case ("class", letters, is_negated):
                    if (letter in letters) != is_negated:
                        on.add(rest)
                case ("any",):
                    on.add(rest)
        return self.opened(on)

    def state(self, text):
        """The ways on after the whole letters of some bytes, and the bytes of a letter that has begun."""
        if text not in self.known:
            ways, begun = self.state(text[:-1])
            begun += text[-1:]
            try:
                ways, begun = self.after(ways, begun.decode()), b""
            except UnicodeDecodeError as error:
                if error.reason != "unexpected end of data":
                    ways, begun = set(), b""
            self.known[text] = ways, begun
        return self.known[text]

    def begins(self, text):
        """Whether a sentence begins with these bytes."""
        ways, begun = self.state(text)
        if not begun:
            return bool(ways)
        return any(self.after(ways, letter) for letter in letters_that_begin(begun, ways))

    def is_sentence(self, text):
        ways, begun = self.state(text)
        return () in ways and not begun


def letters_that_begin(begun, ways):
    """Letters that begin with these bytes, of each kind that a way tells apart: all that it names, and another."""
    named = set(OTHERS)
    for way in ways:
        if way and way[0][0] in ("text", "class"):
            named.update(way[0][1])
    yield from (letter for letter in named if letter.encode().startswith(begun))
    missing = {0xC: 2, 0xD: 2, 0xE: 3, 0xF: 4}[begun[0] >> 4] - len(begun)
    # Which bytes may come second depends on the first; one of these always may.
    for middle, last in itertools.product((0x80, 0x90, 0xA0), range(0x80, 0xC0)):
        letter = (begun + bytes([middle] * (missing - 1) + [last])).decode(errors="ignore")
        if letter and letter not in named:
            yield letter
            return
