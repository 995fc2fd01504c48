"""`patience`: openai-whisper's rule for when beams stop, written down here by itself and run on transformers' model.

At each step the continuations of all beams are gone through from the best on, until every beam has an
unfinished text again; what ends on this way is kept, in the order in which it ends, until `round(beams *
patience)` texts have, or to the greatest length. Unfinished texts then fill up what is missing to the number
of beams. The best text has the largest sum of log-probabilities, the end's included, divided by the number of
its tokens, the end not counted.
"""

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

import crosslatch

from ..speech import noise, random_folder


class Scores:
    """The log-probabilities of the token after some others, with those that a window may not have left out."""

    def __init__(self, model, features, prompt):
        self.model, self.prompt, self.config = model, prompt, model.generation_config
        with torch.no_grad():
            self.encoded = model.model.encoder(features)

    def __call__(self, texts):
        with torch.no_grad():
            logits = self.model(encoder_outputs=self.encoded.__class__(
                self.encoded.last_hidden_state.expand(len(texts), -1, -1)),
                decoder_input_ids=torch.tensor([self.prompt + text for text in texts])).logits[:, -1].float()
        # Both leave out tokens before they compare texts; what is left out counts among the others' chances here.
        scores = logits.log_softmax(-1)
        scores[:, self.config.suppress_tokens] = -torch.inf
        if not texts[0]:
            scores[:, self.config.begin_suppress_tokens] = -torch.inf
        return scores


def search(scores, beams, patience, longest, end, penalty=1.0):
    enough = max(round(beams * patience), 1)
    going, kept = [((), 0.0)], {}
    for _ in range(longest):
        rows = scores([list(text) for text, _ in going])
        found = {}
        for (text, total), row in zip(going, rows):
            for score, token in zip(*row.topk(beams + 1)):
                if score > -torch.inf:
                    found[(*text, token.item())] = np.float32(total) + np.float32(score.item())
        going, ended = [], {}
        for text in sorted(found, key=found.get, reverse=True):
            if text[-1] == end:
                ended[text] = found[text]
            else:
                going.append((text, found[text]))
                if len(going) == beams:
                    break
        for text in sorted(ended, key=ended.get, reverse=True):
            if len(kept) < enough:
                kept[text] = ended[text]
        if len(kept) >= enough or not going:
            break
    for text, total in sorted(going, key=lambda way: way[1], reverse=True):
        if len(kept) >= beams:
            break
        kept[(*text, end)] = total
    best = max(kept, key=lambda text: kept[text] / max(len(text) - 1, 1) ** penalty)
    return list(best[:-1])


def lively(folder, seed):
    """Writes a random model whose texts differ and end, some early and some late; returns it."""
    model = random_folder(folder, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.model.decoder.named_parameters():
            if weight.dim() > 1:
                scale = 1.0 if "embed_tokens" in name else 2.5
                weight.normal_(std=scale * weight[0].numel() ** -0.5, generator=generator)
        model.model.decoder.embed_tokens.weight[model.generation_config.eos_token_id] *= 8
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("seed", range(2))
def test_tokens_are_those_of_the_rule(seed, tmp_path):
    model = lively(tmp_path, 20 + seed)
    config = model.generation_config
    tokens = {name: config.__dict__[name] for name in ("decoder_start_token_id", "no_timestamps_token_id")}
    prompt = [tokens["decoder_start_token_id"], *config.lang_to_id.values(), config.task_to_id["transcribe"],
              tokens["no_timestamps_token_id"]]
    extractor = WhisperFeatureExtractor.from_pretrained(tmp_path)
    transcriber = crosslatch.Transcriber(tmp_path, threads=1)
    plain, found = [], []
    for number in range(2):
        sound = noise(0.9, seed=10 * seed + number)
        features = extractor(sound, sampling_rate=16000, return_tensors="pt").input_features
        scores = Scores(model, features, prompt)
        for beams, patience, penalty, longest in [
                (3, 1.0, 1.0, 20), (5, 0.5, 1.0, 20), (5, 2.0, 1.0, 20), (2, 3.0, 0.5, 20), (4, 1.0, 2.0, 6)]:
            expected = search(scores, beams, patience, longest, config.eos_token_id, penalty)
            (segment,) = transcriber.transcribe(sound, 16000, beam_size=beams, patience=patience, timestamps=False,
                                                length_penalty=penalty, max_new_tokens=longest).transcript().segments
            assert segment.tokens == expected, (beams, patience, penalty)
            found.append(segment.tokens)
            (segment,) = transcriber.transcribe(sound, 16000, beam_size=beams, timestamps=False, length_penalty=penalty,
                                                max_new_tokens=longest).transcript().segments
            plain.append(segment.tokens)
    # The rule is another than transformers'.
    assert found != plain
