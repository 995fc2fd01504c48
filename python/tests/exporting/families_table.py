"""docs/guide/families.md: the exported families, what latching saves in each, and the refused ones.

Run as a program (`cargo xtask families`), it exports every family and writes the table.  The tests
compare each row with what they find.
"""

import sys
import tempfile
from pathlib import Path

import transformers
from transformers.models.auto import modeling_auto

ROOT = Path(__file__).resolve().parents[3]
TABLE = ROOT / "docs/guide/families.md"
REASON_LENGTH = 160
MAPPINGS = (modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
            modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
            modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)

INTRODUCTION = """# Families

`cargo xtask families` writes this page, and the tests check that it is current. Each family is a tiny model
with random weights, exported by `crosslatch.export` and run by the engine on three inputs of different
lengths, one after the other in one session, 16 tokens each. Logits are within 1e-3 of eager PyTorch, and
tokens equal those of `model.generate`. A step after the first computes nothing from the encoder's output and
copies no byte of a cache. FLOPs are for one token and the longest source that the model takes; the models
are small, so only the share that is saved says something about real ones. Every expert of a mixture meets every
token. LED's texts have no global tokens, and UDOP's no picture. Checkpoints in float16 and
bfloat16 are exported as well, and [stored in those types](file-format.md#what-crosslatch-export-writes).

Whisper, Marian, M2M100, NLLB, mBART, BART, Pegasus, T5 and mT5 need no export: a folder of theirs is
[opened as it is](generating.md#models).
"""
REFUSED = """
## Refused

`crosslatch.export` refuses these and gives the reason.
"""
ONE_STACK = """
## Decoder-only

Models of one stack that take text are exported as a `decoder` with its cache; the tests go on with {stacks}.
Some of transformers' sequence-to-sequence classes have a decoder without cross-attention: sound or text becomes part
of the decoder's own sequence. They are refused, because they take more than text.
"""


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def supported_row(family, report):
    saved = report.flops_saved_per_step
    return row(family.name, f"`{family.kind}`", f"{len(report.values)}, {report.bytes:,} bytes",
               f"{report.flops_before:,}", f"{report.flops_before - saved:,}",
               f"{100 * saved / report.flops_before:.0f} %")


def refused_row(family, reason):
    text = str(reason).splitlines()[0][:REASON_LENGTH].strip()
    return row(family.name, f"`{family.kind}`", text.replace("|", "\\|"))


def classes():
    """{class: whether it is an encoder–decoder model} of transformers' sequence-to-sequence models.

    Of the classes for pictures and text only encoder–decoder models, because the others are too many.
    """
    found = {}
    for mapping in MAPPINGS:
        for model_type, name in mapping.items():
            config = transformers.CONFIG_MAPPING[model_type]
            two_stacks = bool(getattr(config, "is_encoder_decoder", False))
            if two_stacks or mapping is not MAPPINGS[-1]:
                found[name] = two_stacks
    return found


def one_stack_line():
    return ", ".join(f"`{name}`" for name, two_stacks in sorted(classes().items())
                     if not two_stacks) + "."


def whole(supported, refused):
    """The page with these rows."""
    from families import STACKS

    def table(titles, rows):
        return "\n".join([row(*titles), "|---" * len(titles) + "|", *rows]) + "\n"

    return "\n".join([INTRODUCTION, table(
        ("Family", "Class", "Computed once per input", "FLOPs per step as exported", "latched",
         "Saved"), supported) + REFUSED, table(("Family", "Class", "Reason"), refused) + ONE_STACK.format(
            stacks=", ".join(stack.name for stack in STACKS)),
        one_stack_line()]) + "\n"


def main():
    sys.path[:0] = [str(ROOT / "python"), str(ROOT / "python/tests")]
    import crosslatch
    from families import FAMILIES
    from families import REFUSED as NOT_SUPPORTED
    supported, refused = [], []
    with tempfile.TemporaryDirectory() as folder:
        for family in [*FAMILIES, *NOT_SUPPORTED]:
            print(family.name, file=sys.stderr)
            try:
                exported = crosslatch.export(family.model(), Path(folder) / "m.pt2",
                                             say=lambda line: None, **family.options)
                supported.append(supported_row(family, exported.latched))
            except crosslatch.Refused as reason:
                refused.append(refused_row(family, reason))
    TABLE.write_text(whole(supported, refused))


if __name__ == "__main__":
    main()
