"""Word error rate of the model on held-out sentences, by greedy decoding.

Two sets: sentences that training never saw, in training voices, and the same sentences in two
voices that training never heard.  Each is scored clean (speech alone at a random place in the
window) and with noise between 15 and 40 dB below the speech.  The decoding loop is written out
because it is the loop that any runtime of the model repeats.

`python demo/evaluate.py` scores the checkpoint in demo/build.
"""

from pathlib import Path

import numpy as np
import torch

from grammar import Language
from model import LONGEST_OUTPUT, make_generation_config, make_model
from sound import WINDOW, LogMel, place
from synthesise import Utterances
from tokenizer import make_tokenizer
from words import word_errors

BUILD = Path(__file__).with_name("build")


@torch.inference_mode()
def greedy(model, features, generation, timestamps=False):
    """Token lists, prompt and end removed, for a batch of full windows."""
    prompt = [generation.decoder_start_token_id,
              *(token for _, token in generation.forced_decoder_ids)]
    if timestamps:
        prompt.pop()  # <|notimestamps|>
    states = model.model.encoder(features).last_hidden_state
    ids = torch.tensor(prompt).repeat(len(features), 1)
    done = torch.zeros(len(features), dtype=torch.bool)
    while not done.all() and ids.shape[1] < LONGEST_OUTPUT:
        hidden = model.model.decoder(ids, encoder_hidden_states=states,
                                     use_cache=False).last_hidden_state
        logits = model.proj_out(hidden[:, -1])
        logits[:, generation.suppress_tokens] = -torch.inf
        if ids.shape[1] == len(prompt):
            logits[:, generation.begin_suppress_tokens] = -torch.inf
        chosen = logits.argmax(-1).masked_fill(done, generation.eos_token_id)
        done |= chosen == generation.eos_token_id
        ids = torch.cat([ids, chosen[:, None]], 1)
    return [[token for token in row[len(prompt):] if token != generation.eos_token_id]
            for row in ids.tolist()]


def transcribe(model, tokenizer, clips, batch=50):
    log_mel, generation = LogMel(), make_generation_config(tokenizer)
    texts = []
    for start in range(0, len(clips), batch):
        features = log_mel(torch.from_numpy(np.stack(clips[start : start + batch])))
        texts += [tokenizer.decode(ids).strip() for ids in greedy(model, features, generation)]
    return texts


def word_error_rate(model, tokenizer, utterances, noisy, limit=None, show=0):
    rng = np.random.default_rng(7)
    indices = range(min(limit or len(utterances), len(utterances)))
    clips = []
    for index in indices:
        speech = utterances.speech(index)
        if noisy:
            clips.append(place(speech, WINDOW, utterances, rng, snr=(15, 40))[0])
        else:
            clip = np.zeros(WINDOW, np.float32)
            begin = int(rng.integers(WINDOW - len(speech) + 1))
            clip[begin : begin + len(speech)] = speech
            clips.append(clip)
    found = transcribe(model, tokenizer, clips)
    expected = [utterances.texts[index] for index in indices]
    errors = [word_errors(*pair) for pair in zip(expected, found)]
    wrong = [(e, f, utterances.voices[i])
             for e, f, n, i in zip(expected, found, errors, indices) if n]
    for e, f, voice in wrong[:show]:
        print(f"    {voice}: {e!r} heard as {f!r}")
    return sum(errors) / sum(len(text.split()) for text in expected)


def load_trained(folder=BUILD):
    tokenizer = make_tokenizer(Language().words)
    model = make_model(tokenizer)
    model.load_state_dict(torch.load(Path(folder) / "model.pt", weights_only=True))
    return model.eval(), tokenizer


def report(model, tokenizer, folder=BUILD, show=8):
    """The four rates, as {name: rate}."""
    rates = {}
    for name in ("evaluation", "heldout_voices"):
        utterances = Utterances(Path(folder) / f"{name}.npz")
        for noisy in (False, True):
            label = f"{name}, {'noisy' if noisy else 'clean'}"
            rates[label] = word_error_rate(model, tokenizer, utterances, noisy, show=show)
            print(f"{label}: {rates[label]:.2%} of words wrong, {len(utterances)} sentences",
                  flush=True)
    return rates


if __name__ == "__main__":
    torch.set_num_threads(2)
    report(*load_trained())
