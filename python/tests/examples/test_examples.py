"""The examples run, with tiny random models, and give what the models give in eager PyTorch."""

import importlib.util

import numpy as np
import pytest
import torch

from architectures import ARCHITECTURES
from architectures.pictures import SAM
from architectures.voices import speecht5
from conftest import ROOT
from families import FAMILIES
from families.family import draw_weights

import crosslatch as python_package  # the fixture `crosslatch` is the command


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def example(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def architecture(name):
    (found,) = [a for a in ARCHITECTURES if a.name == name]
    return found


def loaded(path, **options):
    return python_package.load(path, threads=1, **options).session()


@torch.no_grad()
def test_detr_finds_the_boxes_that_eager_finds(tmp_path):
    code, model = example("detect_objects"), architecture("DETR").module()
    code.export(model, tmp_path / "m.pt2", 64, 64)
    session = loaded(tmp_path / "m.pt2")
    for seed in range(3):
        picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
        found = code.detect(session, picture.numpy(), least=0.0)
        expected = model(picture)
        kinds = expected.logits.softmax(-1)[0, :, :-1].max(-1)
        assert [kind for kind, _, _ in found] == kinds.indices.tolist()
        np.testing.assert_allclose([p for _, p, _ in found], kinds.values, atol=1e-4)
        x, y, width, height = expected.pred_boxes[0].T
        corners = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], -1)
        np.testing.assert_allclose([corner for *_, corner in found], corners, atol=1e-4)


@torch.no_grad()
def test_sam_segments_click_by_click_as_eager_does(tmp_path):
    code = example("segment_by_points")
    model = draw_weights(SAM().eval(), 11)
    code.export(model, tmp_path / "m.pt2")
    session = loaded(tmp_path / "m.pt2", latch=code.PICTURE)
    for seed in range(2):
        pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        picture = code.features(model, pixels)
        for points in ([[3, 4]], [[20, 9], [11, 30]], [[16, 16]]):
            masks, quality = code.click(session, model, picture, points)
            expected = model(pixels, input_points=torch.tensor([[points]], dtype=torch.float32))
            np.testing.assert_allclose(quality, expected.iou_scores[0, 0], atol=1e-3)
            # Where the logits are near zero, either side is right.
            logits = expected.pred_masks[0, 0]
            sure = logits.abs().numpy() > 1e-3
            assert (masks == (logits > 0).numpy())[sure].all()


@torch.no_grad()
def test_pix2struct_writes_the_tokens_of_generate(tmp_path):
    code = example("read_picture")
    (family,) = [f for f in FAMILIES if f.name == "Pix2Struct"]
    model = family.model()
    python_package.export(model, tmp_path / "m.pt2", say=lambda line: None, **family.options)
    session = loaded(tmp_path / "m.pt2")
    for index in range(3):
        inputs = family.inputs(index, torch.Generator().manual_seed(index))
        expected = model.generate(**inputs, max_new_tokens=8, do_sample=False)[0].tolist()
        got = code.read(session, *(inputs[name].numpy() for name in ("flattened_patches", "attention_mask")),
                        expected[0], -1, longest=9)
        assert got == expected[1:9]


@torch.no_grad()
def test_speecht5_says_what_generate_says(tmp_path):
    code = example("speak_text")
    model = draw_weights(speecht5().eval(), 11)
    vocoder = architecture("HiFi-GAN").module()
    code.export(model, vocoder, tmp_path)
    speaker = code.Speaker(tmp_path, threads=1)
    for length in (9, 5, 13):
        generator = torch.Generator().manual_seed(length)
        ids = torch.randint(3, 99, (1, length), generator=generator)
        voice = torch.randn(1, 16, generator=generator)
        # The threshold of a random model's end: never, so that both stop at the greatest length.
        expected = model.generate_speech(ids, voice, threshold=10.0, maxlenratio=1.0)
        most = length // model.config.reduction_factor
        got = speaker.spectrogram(ids.numpy(), voice.numpy(), most, threshold=10.0)
        np.testing.assert_allclose(got[0], expected, rtol=1e-3, atol=1e-3)
        sound = speaker.say(ids.numpy(), voice.numpy(), most)
        samples = int(np.prod(vocoder.config.upsample_rates))
        frames = speaker.spectrogram(ids.numpy(), voice.numpy(), most).shape[1]
        assert sound.shape[1] == samples * frames and np.isfinite(sound).all()
