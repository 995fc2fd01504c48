"""Makes the demo model with one command: synthesis, training, evaluation, export.

    python demo/train.py

Convergence on two CPU cores is what this script is arranged for.  Most steps see windows cut to
the length of their speech, at a random place of the full window's positions, so that a step costs
a third; the last ones see full windows, as the exported model will.  A CTC head that spells the
letters from the encoder's output (and is thrown away afterwards) teaches the encoder to align
long before the decoder's attention would.  About three in ten samples carry timestamps, known
from the synthesis; three in a hundred carry no speech and have an empty transcript.

There are two stages with fixed numbers of steps and fixed seeds: the whole training, and a short
one on full windows alone at a low rate.  The model is the mean of what they reach.  `--last-stage` only repeats the second, from the weights
in the build folder.
"""

import argparse
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from evaluate import report, word_error_rate
from grammar import Language
from model import make_model, special_ids
from sound import RATE, WINDOW, LogMel, draw_colour, mask_some, place, place_nothing
from synthesise import Utterances, make_all
from tokenizer import TIMESTAMP_STEP, make_tokenizer

BUILD = Path(__file__).with_name("build")
BATCH = 16
WARM_UP = 200
POSITION = RATE // 50  # samples in one encoder position
LETTERS = " abcdefghijklmnopqrstuvwxyz"  # CTC classes 1 to 27; 0 is blank
DIGITS = set("zero one two three four five six seven eight nine".split())
NUMBER_REPEATS = 4


@dataclass
class Stage:
    short_steps: int
    full_steps: int
    peak_rate: float
    ctc_weight: float
    seed: int

    def progress(self, short, full):
        """Of the schedule, from 0 to 1; the steps on full windows are its last fifth, if any are
        short."""
        share = 0.8 if self.short_steps else 0.0
        done = share * short / max(self.short_steps, 1)
        return done + (1 - share) * full / self.full_steps


STAGES = [
    Stage(8000, 1000, 1.5e-3, ctc_weight=0.3, seed=3),
    Stage(0, 400, 3e-4, ctc_weight=0.0, seed=4),
]


class Batches:
    """Endless shuffled batches of similar length."""

    def __init__(self, utterances, tokenizer, seed):
        self.utterances, self.tokenizer = utterances, tokenizer
        self.rng = np.random.default_rng(seed)
        self.ids = special_ids(tokenizer)
        self.first_timestamp = tokenizer.token_to_id("<|0.00|>")
        self.log_mel = LogMel()
        self.encoded = [tokenizer.encode(" " + text).ids for text in utterances.texts]
        # Nothing but the sound tells one digit from the next, so numbers are learnt last: more of
        # them than a speaker would say.
        numbers = [i for i, text in enumerate(utterances.texts) if set(text.split()) <= DIGITS]
        self.all = np.array([*range(len(utterances)), *numbers * (NUMBER_REPEATS - 1)])
        self.queue = []

    def next_indices(self):
        if not self.queue:
            order = self.rng.permutation(self.all)
            # Sorting within pools keeps lengths alike and the order random enough.
            for start in range(0, len(order) - BATCH + 1, BATCH * 16):
                pool = order[start : start + BATCH * 16]
                pool = pool[np.argsort(self.utterances.lengths[pool])]
                self.queue += [pool[i : i + BATCH] for i in range(0, len(pool) - BATCH + 1, BATCH)]
            self.rng.shuffle(self.queue)
        return self.queue.pop()

    def timestamp(self, samples):
        return self.first_timestamp + round(samples / RATE / TIMESTAMP_STEP)

    def labels(self, index, begin, end):
        """The decoder's sequence, prompt and end included, and the prompt's length."""
        prompt = [self.ids["startoftranscript"], self.ids["en"], self.ids["transcribe"]]
        end_of_text = [self.ids["endoftext"]]
        if index is None:
            return prompt + [self.ids["notimestamps"]] + end_of_text, 4
        text = self.encoded[index]
        if self.rng.random() < 0.3:
            marked = [self.timestamp(begin)] + text + [self.timestamp(end)]
            return prompt + marked + end_of_text, 3
        return prompt + [self.ids["notimestamps"]] + text + end_of_text, 4

    def next(self, full):
        rng, indices = self.rng, self.next_indices()
        length = WINDOW
        if not full:
            longest = int(self.utterances.lengths[indices].max())
            longest += int(rng.uniform(0.05, 0.5) * RATE)
            length = min(-(-longest // (8 * POSITION)) * 8 * POSITION, WINDOW)
        offset = int(rng.integers((WINDOW - length) // POSITION + 1))
        clips, sequences, letters = [], [], []
        for index in indices:
            if rng.random() < 0.03:
                clips.append(place_nothing(length, self.utterances, rng))
                sequences.append(self.labels(None, 0, 0))
                letters.append([])
                continue
            clip, begin, end = place(self.utterances.speech(index), length, self.utterances, rng)
            clips.append(clip)
            shift = offset * POSITION
            sequences.append(self.labels(index, begin + shift, end + shift))
            letters.append([LETTERS.index(c) + 1 for c in self.utterances.texts[index]])
        features = self.log_mel(torch.from_numpy(np.stack(clips)), draw_colour(len(clips), rng))
        features = mask_some(features, rng)
        width = max(len(ids) for ids, _ in sequences)
        inputs = torch.full((len(clips), width - 1), self.ids["endoftext"])
        targets = torch.full((len(clips), width - 1), -100)
        for row, (ids, prompt) in enumerate(sequences):
            ids = torch.tensor(ids)
            inputs[row, : len(ids) - 1] = ids[:-1]
            targets[row, prompt - 1 : len(ids) - 1] = ids[prompt:]
        return features, offset, inputs, targets, letters


def encode(encoder, features, offset):
    """The encoder on a part of its window: positions `offset` onwards."""
    hidden = F.gelu(encoder.conv2(F.gelu(encoder.conv1(features)))).permute(0, 2, 1)
    hidden = hidden + encoder.embed_positions.weight[offset : offset + hidden.shape[1]]
    for layer in encoder.layers:
        hidden = layer(hidden, None)
    return encoder.layer_norm(hidden)


def losses(model, speller, batch):
    features, offset, inputs, targets, letters = batch
    states = encode(model.model.encoder, features, offset)
    spelled = speller(states).log_softmax(-1).transpose(0, 1)
    sizes = torch.tensor([len(row) for row in letters])
    ctc = F.ctc_loss(spelled, torch.tensor(sum(letters, [])), torch.full_like(sizes, len(spelled)),
                     sizes, reduction="sum", zero_infinity=True) / max(int(sizes.sum()), 1)
    hidden = model.model.decoder(inputs, encoder_hidden_states=states, use_cache=False)
    logits = model.proj_out(hidden.last_hidden_state)
    text = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100,
                           label_smoothing=0.02)
    return text, ctc


def learning_rate(peak, step, progress):
    warm = min(1.0, (step + 1) / WARM_UP)
    return peak * warm * 0.5 * (1 + np.cos(np.pi * min(progress, 1.0)))


def train(model, tokenizer, folder, stage):
    torch.manual_seed(stage.seed)
    batches = Batches(Utterances(folder / "training.npz"), tokenizer, stage.seed)
    check = Utterances(folder / "heldout_voices.npz")
    speller = torch.nn.Linear(model.config.d_model, len(LETTERS) + 1)
    weights = [p for p in [*model.parameters(), *speller.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=stage.peak_rate, betas=(0.9, 0.98),
                                  weight_decay=0.01)
    began = saved = time.time()
    short = full = 0
    means = np.zeros(2)
    while full < stage.full_steps:
        in_full = short >= stage.short_steps
        progress = stage.progress(short, full)
        step = short + full
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(stage.peak_rate, step, progress)
        model.train()
        text, ctc = losses(model, speller, batches.next(in_full))
        optimizer.zero_grad(set_to_none=True)
        ((1 - stage.ctc_weight) * text + stage.ctc_weight * ctc).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        short, full = short + (not in_full), full + in_full
        means = 0.95 * means + 0.05 * np.array([text.item(), ctc.item()])
        step += 1
        if step % 50 == 0:
            spent = (time.time() - began) / 60
            print(f"step {step} ({short} short, {full} full), {spent:.1f} min, {progress:.1%}: "
                  f"text {means[0]:.3f}, letters {means[1]:.3f}", flush=True)
        if step % 500 == 0:
            rate = word_error_rate(model.eval(), tokenizer, check, True, limit=50, show=3)
            print(f"  held-out voices, 50 sentences: {rate:.1%} of words wrong", flush=True)
        if time.time() - saved > 120:
            saved = time.time()
            torch.save(model.state_dict(), folder / "model.pt")
    torch.save(model.state_dict(), folder / "model.pt")
    spent = (time.time() - began) / 60
    print(f"trained {short} short and {full} full steps in {spent:.1f} minutes")
    return model.eval()


def snapshot(model):
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def average(snapshots):
    """The mean of the weights after each stage: better than either (Izmailov et al. 2018)."""
    return {name: sum(s[name] for s in snapshots) / len(snapshots) for name in snapshots[0]}


def main():
    parser = argparse.ArgumentParser(description="Make the demo model.")
    parser.add_argument("--last-stage", action="store_true",
                        help="only the second stage, from the weights in the build folder")
    parser.add_argument("--build", type=Path, default=BUILD, help="folder for speech and weights")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("model.pt2"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-export", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    random.seed(0)
    torch.manual_seed(0)
    make_all(arguments.build)
    tokenizer = make_tokenizer(Language().words)
    model = make_model(tokenizer)
    stages = STAGES[-1:] if arguments.last_stage else STAGES
    if arguments.last_stage:
        model.load_state_dict(torch.load(arguments.build / "model.pt", weights_only=True))
    print(sum(p.numel() for p in model.parameters()), "parameters")
    reached = [snapshot(model)] if arguments.last_stage else []
    for stage in stages:
        train(model, tokenizer, arguments.build, stage)
        reached.append(snapshot(model))
    model.load_state_dict(average(reached))
    torch.save(model.state_dict(), arguments.build / "model.pt")
    report(model, tokenizer, arguments.build)
    if not arguments.no_export:
        from export import export_whisper
        export_whisper(model, arguments.output, tokenizer)


if __name__ == "__main__":
    main()
