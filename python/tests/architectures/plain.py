"""Modules of plain PyTorch, as papers and tutorials write them."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from families.family import VOCABULARY

from .architecture import LENGTHS, Architecture, numbers, tokens

SIZE = 32


class Translator(nn.Module):
    """`nn.Transformer` between embeddings and logits."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, SIZE)
        self.positions = nn.Embedding(64, SIZE)
        self.transformer = nn.Transformer(SIZE, 4, 2, 2, 48, batch_first=True)
        self.head = nn.Linear(SIZE, VOCABULARY)

    def embedded(self, ids):
        return self.embedding(ids) + self.positions.weight[:ids.shape[1]]

    def forward(self, source, target):
        later = torch.full((target.shape[1], target.shape[1]), -math.inf).triu(1)
        return self.head(self.transformer(self.embedded(source), self.embedded(target),
                                          tgt_mask=later, tgt_is_causal=True))


class RecurrentTranslator(nn.Module):
    """Bahdanau's: a recurrent encoder of two directions, a decoder that attends to it."""

    def __init__(self, kind):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, SIZE)
        self.encoder = kind(SIZE, SIZE // 2, batch_first=True, bidirectional=True)
        self.decoder = kind(SIZE, SIZE, num_layers=2, batch_first=True)
        self.query, self.key = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)
        self.score = nn.Linear(SIZE, 1)
        self.head = nn.Linear(2 * SIZE, VOCABULARY)

    def forward(self, source, target):
        states, _ = self.encoder(self.embedding(source))
        wanted, _ = self.decoder(self.embedding(target))
        scores = self.score(torch.tanh(self.query(wanted)[:, :, None] + self.key(states)[:, None]))
        read = torch.softmax(scores.squeeze(-1), -1) @ states
        return self.head(torch.cat([wanted, read], -1))


class Wav2Letter(nn.Module):
    def __init__(self):
        super().__init__()
        layers = []
        for size, channels, kernel, stride in [(1, 16, 48, 16), (16, 24, 7, 1), (24, 24, 7, 1),
                                               (24, 32, 15, 1), (32, 32, 1, 1)]:
            layers += [nn.Conv1d(size, channels, kernel, stride, kernel // 2), nn.BatchNorm1d(channels),
                       nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv1d(32, VOCABULARY, 1))

    def forward(self, samples):
        return F.log_softmax(self.layers(samples), 1)


class ConformerBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.after = self.feed_forward(), self.feed_forward()
        self.norm = nn.LayerNorm(SIZE)
        self.attention = nn.MultiheadAttention(SIZE, 4, batch_first=True)
        self.convolution_norm = nn.LayerNorm(SIZE)
        self.convolution = nn.Sequential(
            nn.Conv1d(SIZE, 2 * SIZE, 1), nn.GLU(1), nn.Conv1d(SIZE, SIZE, 7, padding=3, groups=SIZE),
            nn.BatchNorm1d(SIZE), nn.SiLU(), nn.Conv1d(SIZE, SIZE, 1))
        self.last = nn.LayerNorm(SIZE)

    @staticmethod
    def feed_forward():
        return nn.Sequential(nn.LayerNorm(SIZE), nn.Linear(SIZE, 4 * SIZE), nn.SiLU(),
                             nn.Linear(4 * SIZE, SIZE))

    def forward(self, x):
        x = x + 0.5 * self.before(x)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.convolution(self.convolution_norm(x).transpose(1, 2)).transpose(1, 2)
        return self.last(x + 0.5 * self.after(x))


class Conformer(nn.Module):
    """Frames, a quarter of them after two strided convolutions, to logits."""

    def __init__(self):
        super().__init__()
        self.subsampling = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(),
                                         nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.inside = nn.Linear(8 * 4, SIZE)
        self.blocks = nn.Sequential(ConformerBlock(), ConformerBlock())
        self.head = nn.Linear(SIZE, VOCABULARY)

    def forward(self, frames):
        x = self.subsampling(frames[:, None]).transpose(1, 2).flatten(2)
        return self.head(self.blocks(self.inside(x)))


class Tacotron(nn.Module):
    """Tacotron 2 with a frame at a time: location-sensitive attention, two cells, a postnet."""

    def __init__(self, frames=6, bins=16):
        super().__init__()
        self.frames, self.bins = frames, bins
        self.embedding = nn.Embedding(VOCABULARY, SIZE)
        self.convolutions = nn.Sequential(*(layer for _ in range(2) for layer in (
            nn.Conv1d(SIZE, SIZE, 5, padding=2), nn.BatchNorm1d(SIZE), nn.ReLU())))
        self.encoder = nn.LSTM(SIZE, SIZE // 2, batch_first=True, bidirectional=True)
        self.prenet = nn.Sequential(nn.Linear(bins, SIZE), nn.ReLU(), nn.Linear(SIZE, SIZE), nn.ReLU())
        self.attention, self.decoder = nn.LSTMCell(2 * SIZE, SIZE), nn.LSTMCell(2 * SIZE, SIZE)
        self.query, self.key = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)
        self.location = nn.Conv1d(2, SIZE, 5, padding=2)
        self.score = nn.Linear(SIZE, 1)
        self.frame, self.stop = nn.Linear(2 * SIZE, bins), nn.Linear(2 * SIZE, 1)
        self.postnet = nn.Sequential(nn.Conv1d(bins, SIZE, 5, padding=2), nn.BatchNorm1d(SIZE), nn.Tanh(),
                                     nn.Conv1d(SIZE, bins, 5, padding=2))

    def forward(self, text):
        states = self.encoder(self.convolutions(self.embedding(text).mT).mT)[0]
        keys = self.key(states)
        batch = text.shape[0]
        zeros = states.new_zeros(batch, SIZE)
        heard, said, read = (zeros, zeros), (zeros, zeros), zeros
        weights = total = states[..., 0] * 0
        frame, frames, stops = states.new_zeros(batch, self.bins), [], []
        for _ in range(self.frames):
            heard = self.attention(torch.cat([self.prenet(frame), read], -1), heard)
            seen = self.location(torch.stack([weights, total], 1)).mT
            scores = self.score(torch.tanh(self.query(heard[0])[:, None] + keys + seen))
            weights = torch.softmax(scores.squeeze(-1), -1)
            total = total + weights
            read = (weights[:, None] @ states).squeeze(1)
            said = self.decoder(torch.cat([heard[0], read], -1), said)
            both = torch.cat([said[0], read], -1)
            frame = self.frame(both)
            frames.append(frame)
            stops.append(self.stop(both))
        spectrogram = torch.stack(frames, 2)
        return spectrogram + self.postnet(spectrogram), torch.cat(stops, 1)


class Reads(nn.Module):
    """A block of a UNet: convolutions with the time, then attention to a text."""

    def __init__(self, inside, outside):
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(4, inside), nn.SiLU(), nn.Conv2d(inside, outside, 3, 1, 1))
        self.time = nn.Linear(SIZE, outside)
        self.second = nn.Sequential(nn.GroupNorm(4, outside), nn.SiLU(),
                                    nn.Conv2d(outside, outside, 3, 1, 1))
        self.skip = nn.Conv2d(inside, outside, 1)
        self.norm = nn.LayerNorm(outside)
        self.attention = nn.MultiheadAttention(outside, 4, kdim=SIZE, vdim=SIZE, batch_first=True)

    def forward(self, x, time, text):
        y = self.second(self.first(x) + self.time(time)[:, :, None, None]) + self.skip(x)
        rows = y.flatten(2).mT
        rows = rows + self.attention(self.norm(rows), text, text, need_weights=False)[0]
        return rows.mT.reshape(y.shape)


class UNet(nn.Module):
    """One step of a diffusion, conditioned on a text."""

    def __init__(self):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(SIZE, SIZE), nn.SiLU(), nn.Linear(SIZE, SIZE))
        self.inside = nn.Conv2d(4, 16, 3, 1, 1)
        self.down = nn.ModuleList([Reads(16, 16), Reads(16, 32)])
        self.smaller = nn.Conv2d(16, 16, 3, 2, 1)
        self.middle = Reads(32, 32)
        self.up = nn.ModuleList([Reads(64, 16), Reads(32, 16)])
        self.outside = nn.Conv2d(16, 4, 3, 1, 1)

    def forward(self, picture, time, text):
        waves = time[:, None] * torch.exp(-torch.arange(SIZE // 2) * (math.log(1e4) / (SIZE // 2)))
        time = self.time(torch.cat([waves.sin(), waves.cos()], -1))
        first = self.down[0](self.inside(picture), time, text)
        second = self.down[1](self.smaller(first), time, text)
        x = self.up[0](torch.cat([self.middle(second, time, text), second], 1), time, text)
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.outside(self.up[1](torch.cat([x, first], 1), time, text))


class CaptionedPicture(nn.Module):
    """Show, attend and tell: a convolutional network and an LSTM that looks at its output."""

    def __init__(self):
        super().__init__()
        self.see = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, SIZE, 3, padding=1), nn.BatchNorm2d(SIZE), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
        self.embedding = nn.Embedding(VOCABULARY, SIZE)
        self.lstm = nn.LSTM(SIZE, SIZE, batch_first=True)
        self.attention = nn.MultiheadAttention(SIZE, 4, batch_first=True)
        self.head = nn.Linear(SIZE, VOCABULARY)

    def forward(self, picture, target):
        places = self.see(picture).flatten(2).mT
        wanted, _ = self.lstm(self.embedding(target))
        return self.head(wanted + self.attention(wanted, places, places)[0])


TEXT = {"source": tokens(), "target": tokens((5, 7, 4))}
PLAIN = [
    Architecture("nn.Transformer", Translator, TEXT, latched=("source",)),
    Architecture("LSTM with attention", lambda: RecurrentTranslator(nn.LSTM), TEXT, latched=("source",)),
    Architecture("GRU with attention", lambda: RecurrentTranslator(nn.GRU), TEXT, latched=("source",)),
    Architecture("wav2letter", Wav2Letter, {"samples": numbers(2, 1, (800, 1300, 640))}),
    Architecture("Conformer", Conformer, {"frames": numbers(2, (40, 61, 33), 16)}),
    Architecture("Tacotron 2", Tacotron, {"text": tokens()}),
    Architecture("UNet with cross-attention", UNet, {
        "picture": numbers(2, 4, 16, 16), "time": numbers(2), "text": numbers(2, LENGTHS, SIZE)},
        latched=("text",)),
    Architecture("CNN to LSTM", CaptionedPicture, {
        "picture": numbers(2, 3, 48, 48), "target": tokens((5, 7, 4))}, latched=("picture",)),
]
