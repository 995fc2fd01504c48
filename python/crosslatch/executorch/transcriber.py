"""Sound to text on ExecuTorch's runtime, with the features, the search and the text of Crosslatch.

Everything but the model is what `crosslatch.Transcriber` has, so that both can be compared on the same
sound.  It also is how the methods of a `.pte` are to be called, for someone who writes the same in
another language.
"""

from pathlib import Path

import torch

FILES = ("config.json", "tokenizer.json", "preprocessor_config.json", "generation_config.json")
METHODS = ("encoder", "latch", "decoder")


class Steps:
    """The methods of a speech model's `.pte`, with memory of their own."""

    def __init__(self, path):
        from executorch.runtime import Runtime
        # A program's methods share their memory, so that each user loads the file anew.
        self.program = Runtime.get().load_program(Path(path))
        missing = sorted(set(METHODS) - set(self.program.method_names))
        if missing:
            raise ValueError(f"{path} has no method `{missing[0]}`; `crosslatch.export(model, "
                             f"\"m.pte\")` makes {', '.join(METHODS)}")
        batch = self.program.metadata("encoder").input_tensor_meta(0).sizes()[0]
        if batch != 1:
            raise ValueError(f"{path} takes {batch} sounds at a time; export it with batch=1")
        self.encoder, self.latch, self.decoder = map(self.program.load_method, METHODS)

    def encode(self, features):
        """A window's features, float32 `[1, mels, frames]`: the caches are filled."""
        (states,) = self.encoder.execute([torch.from_numpy(features)])
        self.latch.execute([states])

    def decode(self, tokens, position):
        """The scores of the token after these, the first of which stands at `position`."""
        for token in tokens:
            (scores,) = self.decoder.execute([torch.tensor([[token]]), torch.tensor([position])])
            position += 1
        return scores[0, -1].contiguous()


def Transcriber(path):  # noqa: N802  it makes what the class of this name makes
    """A `crosslatch.Transcriber` that computes the model of a `.pte` on ExecuTorch's runtime.

    The files that `crosslatch.export` put beside the `.pte` have to be there.
    """
    from .._engine import Transcriber as Engine
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    files = {name: path.with_name(name).read_bytes() for name in FILES
             if path.with_name(name).is_file()}
    return Engine.of_steps(path, files, lambda: Steps(path))
