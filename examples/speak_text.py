"""Says a text, with SpeechT5: `python speak_text.py microsoft/speecht5_tts microsoft/speecht5_hifigan "Good morning"`.

The model writes a spectrogram, some frames at a time, from a text and the frames before.  The text stays the same,
so it is latched: the encoder runs once.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch.export import Dim

import crosslatch


def export(model, vocoder, folder):
    """Writes three programs: text and frames to states, states to frames, frames to sound."""
    config = model.config
    # The model keeps a dropout in inference; without it, it says the same each time.
    model.speecht5.decoder.prenet._consistent_dropout = lambda states, share: states
    text = Dim("text", min=2, max=config.max_text_positions)
    frames = Dim("frames", min=2, max=config.max_speech_positions)
    save(model.speecht5, folder / "model.pt2", {
        "input_values": torch.ones(1, 9, dtype=torch.int64),
        "attention_mask": torch.ones(1, 9, dtype=torch.int64),
        "decoder_input_values": torch.zeros(1, 6, config.num_mel_bins),
        "speaker_embeddings": torch.zeros(1, config.speaker_embedding_dim), "use_cache": False},
        {"input_values": {1: text}, "attention_mask": {1: text}, "decoder_input_values": {1: frames}})
    save(model.speech_decoder_postnet, folder / "frames.pt2",
         {"hidden_states": torch.zeros(1, 6, config.hidden_size)}, {"hidden_states": {1: frames}})
    save(vocoder, folder / "sound.pt2", {"spectrogram": torch.zeros(1, 6, config.num_mel_bins)},
         {"spectrogram": {1: frames}})


def save(module, path, arguments, varying):
    shapes = dict.fromkeys(arguments) | varying
    torch.export.save(torch.export.export(module.eval(), (), arguments, dynamic_shapes=shapes), path)


class Speaker:
    def __init__(self, folder, threads=None):
        def session(name, **options):
            return crosslatch.load(folder / name, threads=threads, **options).session()

        self.model = session("model.pt2", latch=["input_values", "attention_mask"])
        self.frames, self.sound = session("frames.pt2"), session("sound.pt2")

    def spectrogram(self, ids, voice, most, threshold=0.5):
        """[1, frames, bins] of a text; it ends where the model says, at the latest after so many steps."""
        bins = self.sound.program.methods["model"].inputs[0].shape[2]
        given = np.zeros((1, 2, bins), np.float32)  # silence, and room for what comes next
        for step in range(1, most + 1):
            (states, *_) = self.model.run("model", {
                "input_values": ids, "attention_mask": np.ones_like(ids), "speaker_embeddings": voice,
                "decoder_input_values": given}).values()
            before, _, ends = self.frames.run("model", {"hidden_states": states}).values()
            per_step = ends.shape[1] // states.shape[1]
            written = slice((step - 1) * per_step, step * per_step)
            given[:, -1] = before[:, written][:, -1]
            if (1 / (1 + np.exp(-ends[:, written]))).sum() >= threshold and step > 1:
                break
            given = np.concatenate([given, np.zeros((1, 1, bins), np.float32)], 1)
        # The last frames are smoothed by those around them, so once more without the room.
        _, after, _ = self.frames.run("model", {"hidden_states": states[:, :step]}).values()
        return after

    def say(self, ids, voice, most):
        (sound,) = self.sound.run("model", {"spectrogram": self.spectrogram(ids, voice, most)}).values()
        return sound


def main(name, vocoder_name, text):
    from scipy.io import wavfile
    from transformers import SpeechT5ForTextToSpeech, SpeechT5HifiGan, SpeechT5Processor
    ids = SpeechT5Processor.from_pretrained(name)(text=text, return_tensors="np")["input_ids"]
    model = SpeechT5ForTextToSpeech.from_pretrained(name)
    export(model, SpeechT5HifiGan.from_pretrained(vocoder_name), Path("."))
    voice = np.zeros((1, model.config.speaker_embedding_dim), np.float32)
    wavfile.write("speech.wav", 16000, Speaker(Path(".")).say(ids, voice, most=10 * ids.shape[1])[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
