"""CTranslate2: it cannot be fed token by token, so steps are told from runs of different lengths."""

import ctranslate2

import models

from . import milliseconds

PRECISIONS = ["f32", "int8"]
NEEDS = {precision: ["ctranslate2"] for precision in PRECISIONS}


class Runtime:
    def __init__(self, folder, precision, threads):
        kind = {"f32": "float32", "int8": "int8"}[precision]
        self.model = ctranslate2.models.Whisper(
            str(folder / "ctranslate2"), device="cpu", compute_type=kind, intra_threads=threads,
            inter_threads=1)

    def window(self, features, tokens):
        encoder, states = milliseconds(
            lambda: self.model.encode(ctranslate2.StorageView.from_array(features)))
        end = 50257

        def generate(count):
            # Half of its maximum is kept for a prompt; it never ends by itself.
            (result,) = self.model.generate(states, [models.START], beam_size=1,
                                            max_length=2 * count, suppress_blank=False,
                                            suppress_tokens=[end])
            (found,) = result.sequences_ids
            assert len(found) == count, f"{len(found)} tokens instead of {count}"
            return found

        first, _ = milliseconds(lambda: generate(1))
        all_of_them, found = milliseconds(lambda: generate(len(tokens)))
        later = (all_of_them - first) / (len(tokens) - 1)
        return {"encoder": encoder, "first": first, "later": [later]}, found
