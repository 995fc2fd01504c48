"""Turns stored speech into what a microphone might give: position, loudness, colour, noise.

Every use of an utterance is different, which is what keeps a model of this size from learning the
recordings by heart.  The features are Whisper's log-mel spectrum, computed for a whole batch at
once; test with `python sound.py` that they equal the feature extractor's.
"""

import numpy as np
import torch

from model import make_feature_extractor

RATE = 16_000
WINDOW = 6 * RATE


def pink(length, rng):
    """Noise whose power falls with frequency, as most rooms and machines have it."""
    spectrum = np.fft.rfft(rng.standard_normal(length).astype(np.float32))
    spectrum /= np.sqrt(np.arange(1, len(spectrum) + 1))
    return np.fft.irfft(spectrum, n=length).astype(np.float32)


def babble(length, utterances, rng):
    """Three other speakers at once."""
    out = np.zeros(length, np.float32)
    for _ in range(3):
        speech = utterances.speech(int(rng.integers(len(utterances))))
        out += np.roll(np.resize(speech, length), int(rng.integers(length)))
    return out


def make_noise(length, utterances, rng):
    kind = rng.integers(3)
    if kind == 0:
        return rng.standard_normal(length).astype(np.float32)
    return pink(length, rng) if kind == 1 else babble(length, utterances, rng)


def place(speech, length, utterances, rng, lead=None, snr=(10, 40)):
    """Puts `speech` into a clip of `length` samples; returns (clip, begin, end) in samples.

    Half of the clips have noise all the way through, the rest ends in the digital silence with
    which a short file is padded."""
    room = length - len(speech)
    begin = int(rng.integers(room + 1)) if lead is None else min(lead, room)
    clip = np.zeros(length, np.float32)
    clip[begin : begin + len(speech)] = speech
    end = begin + len(speech)
    if rng.random() < 0.8:
        noisy = length if rng.random() < 0.5 else int(rng.integers(end, length + 1))
        noise = make_noise(noisy, utterances, rng)
        level = np.sqrt((speech ** 2).mean()) * 10 ** (-rng.uniform(*snr) / 20)
        clip[:noisy] += noise * (level / (np.sqrt((noise ** 2).mean()) + 1e-9))
    clip *= 10 ** (rng.uniform(-26, 0) / 20) / max(np.abs(clip).max(), 1e-6)
    return clip, begin, end


def place_nothing(length, utterances, rng):
    """A clip without speech: silence, or quiet noise."""
    clip = np.zeros(length, np.float32)
    if rng.random() < 0.75:
        noise = rng.standard_normal(length).astype(np.float32) if rng.random() < 0.5 \
            else pink(length, rng)
        clip = noise * (10 ** (rng.uniform(-70, -15) / 20) / np.abs(noise).max())
    return clip


class LogMel:
    """Whisper's features for a batch of clips of equal length."""

    def __init__(self):
        extractor = make_feature_extractor()
        filters = np.asarray(extractor.mel_filters, np.float32)
        self.filters = torch.from_numpy(filters).T.contiguous()
        self.window = torch.hann_window(400)

    def __call__(self, clips, colour=None):
        """`colour`: [batch, 80] in log10 units, a random frequency response."""
        spectrum = torch.stft(clips, 400, 160, window=self.window, return_complex=True)
        mel = self.filters @ torch.view_as_real(spectrum[..., :-1]).square().sum(-1)
        log = mel.clamp(min=1e-10).log10()
        if colour is not None:
            log = (log + colour[:, :, None]).clamp(min=-10)
        log = torch.maximum(log, log.amax((1, 2), keepdim=True) - 8)
        return (log + 4) / 4


def draw_colour(batch, rng):
    """A smooth random curve over the mel bands, up to about ±6 dB, for three in four clips."""
    knots = rng.uniform(-0.6, 0.6, (batch, 6)) * (rng.random((batch, 1)) < 0.75)
    grid = np.linspace(0, 5, 80)
    curves = np.stack([np.interp(grid, np.arange(6), row) for row in knots])
    return torch.from_numpy(curves.astype(np.float32))


def mask_some(features, rng):
    """Blanks one random band of frequencies and one short stretch of time in half of the clips."""
    for row in features:
        if rng.random() < 0.5:
            low, high = int(rng.integers(70)), int(rng.integers(1, 11))
            row[low : low + high] = row.mean()
        if rng.random() < 0.5:
            begin, length = int(rng.integers(row.shape[1])), int(rng.integers(1, 8))
            row[:, begin : begin + length] = row.min()
    return features


if __name__ == "__main__":
    clip = np.random.default_rng(0).standard_normal(WINDOW).astype(np.float32) * 0.1
    expected = make_feature_extractor()(clip, sampling_rate=RATE, return_tensors="pt")
    difference = (LogMel()(torch.from_numpy(clip)[None]) - expected.input_features).abs().max()
    print("largest difference from the feature extractor:", difference.item())
