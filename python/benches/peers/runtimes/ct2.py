"""CTranslate2: it cannot be fed token by token, so steps are told from runs of different lengths."""

import ctranslate2

import models

from . import milliseconds


class Speech:
    """Encoder and decoder are called apart."""

    is_apart = True

    def __init__(self, family, *where, **how):
        self.family, self.model = family, ctranslate2.models.Whisper(*where, **how)

    def encode(self, given):
        return self.model.encode(ctranslate2.StorageView.from_array(given))

    def generate(self, states, count, beams):
        # Half of its maximum is kept for a prompt; it never ends by itself.
        prompts = [self.family.START] * states.shape[0]
        results = self.model.generate(states, prompts, beam_size=beams, max_length=2 * count,
                                      suppress_blank=False, suppress_tokens=[self.family.END])
        return [result.sequences_ids[0] for result in results]


class Text:
    """The encoder is run with the decoder, and not to be told from its first step."""

    is_apart = False

    def __init__(self, family, *where, **how):
        self.model = ctranslate2.Translator(*where, **how)

    def encode(self, given):
        return [[f"w{token}" for token in row] for row in given]

    def generate(self, source, count, beams):
        results = self.model.translate_batch(source, beam_size=beams, min_decoding_length=count,
                                             max_decoding_length=count)
        return [[int(word[1:]) for word in result.hypotheses[0]] for result in results]


KINDS = {"whisper": Speech, "t5": Text}


class Runtime:
    beams = 1

    def __init__(self, folder, precision, threads, lanes=1):
        self.lanes, kind = lanes, KINDS[models.FAMILIES[folder.name]]
        stored, computes = {"f32": ("ctranslate2", "float32"), "int8": ("ctranslate2-int8", "int8")}[precision]
        self.model = kind(models.family(folder.name), str(folder / stored), device="cpu", compute_type=computes,
                          intra_threads=threads, inter_threads=1)

    def window(self, given, tokens):
        given = given.repeat(self.lanes, 0)
        encoder, encoded = milliseconds(lambda: self.model.encode(given))

        def generate(count):
            found, *others = self.model.generate(encoded, count, self.beams)
            assert len(found) == count, f"{len(found)} tokens instead of {count}"
            assert all(other == found for other in others), "lanes differ"
            return found

        first, _ = milliseconds(lambda: generate(1))
        all_of_them, found = milliseconds(lambda: generate(len(tokens)))
        later = (all_of_them - first) / (len(tokens) - 1)
        encoder = encoder if self.model.is_apart else 0.0
        return {"encoder": encoder, "first": first, "later": [later]}, found


class Beams(Runtime):
    """A search among the texts of one window: steps have its choices in them, and its text is another than
    the one that is forced."""

    def __init__(self, folder, precision, threads, lanes):
        super().__init__(folder, precision, threads)
        self.beams = lanes

    def window(self, given, tokens):
        return super().window(given, tokens)[0], None
