"""Architectures that nobody tuned the engine for: tiny models with random weights, exported as they are.

Each file has those of one idea.  `measuring` exports and runs one, `table` writes the page.
"""

from .captions import CAPTIONS
from .decoders import DECODERS
from .encoders import ENCODERS
from .pictures import PICTURES
from .plain import PLAIN
from .series import SERIES
from .sound import SOUND
from .texts import TEXTS
from .voices import VOICES

GROUPS = {
    "Plain PyTorch": PLAIN,
    "Text to text": TEXTS,
    "Text that goes on": DECODERS,
    "Text to states": ENCODERS,
    "Sound in": SOUND,
    "Sound out": VOICES,
    "Pictures": PICTURES,
    "Pictures to text": CAPTIONS,
    "Series": SERIES,
}
ARCHITECTURES = [architecture for group in GROUPS.values() for architecture in group]

__all__ = ["ARCHITECTURES", "GROUPS"]
