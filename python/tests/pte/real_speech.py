"""Real recordings with a trained Whisper: tokens of ExecuTorch's runtime, of the engine, of transformers.

`python -m pte.real_speech FOLDER MODEL.pte SOUND…`, from `python/tests`; `crosslatch-export FOLDER
MODEL.pte` makes the file.  It prints a line for each sound and ends with an error if tokens differ.
"""

import sys
import time

import crosslatch
import torch


def main(folder, file, *sounds):
    import transformers
    from crosslatch import executorch
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval()
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(folder)
    special = model.generation_config.eos_token_id
    here, engine = executorch.Transcriber(file), crosslatch.Transcriber(folder)
    different = 0
    for sound in sounds:
        samples = crosslatch.decode_audio(sound)
        features = extractor(samples, sampling_rate=16000, return_tensors="pt").input_features
        with torch.no_grad():
            tokens = model.generate(features)[0].tolist()
        expected = [token for token in tokens if token < special]
        transcripts, seconds = zip(*(timed(one, sound) for one in (here, engine)), strict=True)
        mine, other = ([t for s in each.segments for t in s.tokens if t < special]
                       for each in transcripts)
        same = mine == other == expected and transcripts[0].text == transcripts[1].text
        different += not same
        print(f"{sound}: {len(mine)} tokens, {'the same in all' if same else 'DIFFERENT'}: "
              f"{seconds[0]:.2f} s on ExecuTorch, {seconds[1]:.2f} s on the engine: "
              f"{transcripts[0].text.strip()}", flush=True)
    return different


def timed(transcriber, sound):
    start = time.perf_counter()
    transcript = transcriber.transcribe(sound).transcript()
    return transcript, time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(min(main(*sys.argv[1:]), 1))
