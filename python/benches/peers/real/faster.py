"""faster-whisper as a command: writes down what is said in a sound file.

    python faster.py FOLDER COMPUTE_TYPE THREADS BEAMS FILE
"""

import sys

from faster_whisper import WhisperModel


def main():
    folder, compute, threads, beams, file = sys.argv[1:]
    model = WhisperModel(folder, device="cpu", compute_type=compute, cpu_threads=int(threads))
    # As `crosslatch transcribe` does unless told otherwise: the best token or beam, no second try, no text
    # before a window, and nothing left out.
    segments, _ = model.transcribe(
        file, language="en", beam_size=int(beams), temperature=0.0, condition_on_previous_text=False,
        compression_ratio_threshold=None, log_prob_threshold=None, no_speech_threshold=None,
        vad_filter=False)
    print("".join(segment.text for segment in segments).strip())


if __name__ == "__main__":
    main()
