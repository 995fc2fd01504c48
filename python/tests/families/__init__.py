"""Encoder–decoder families as tiny models with random weights, and inputs for them.

Nothing is downloaded: a family is its configuration class with small sizes.  `text`, `sound` and
`pictures` hold those that are exported, by what their encoder takes in; `refused` those that are not,
each with the reason.
"""

from .family import BATCH, DECODER_LAYERS, Family, text
from .pictures import PICTURES
from .refused import REFUSED
from .sound import SOUND
from .stacks import STACKS
from .texts import BART, TEXTS

FAMILIES = [*TEXTS, *SOUND, *PICTURES]
BATCHED = Family("BART, two texts at once", BART.kind, BART.config, text(batch=BATCH),
                 {"batch": BATCH})

__all__ = ["BATCHED", "DECODER_LAYERS", "FAMILIES", "REFUSED", "STACKS", "Family"]
