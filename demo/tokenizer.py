"""Makes the demo's own tokenizer: byte-level BPE over the grammar, with Whisper's special tokens.

The vocabulary is large enough that every word of the grammar, with the space before it, is one
token, so a sentence takes few decoder steps; the 256 bytes stay in it, so any text at all can be
encoded.  The special tokens stand in Whisper's order, the timestamps last and contiguous, because
decoders find them by that order.
"""

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

WINDOW_SECONDS = 6
TIMESTAMP_STEP = 0.02
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>",
           "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
TIMESTAMPS = [f"<|{i * TIMESTAMP_STEP:.2f}|>"
              for i in range(round(WINDOW_SECONDS / TIMESTAMP_STEP) + 1)]


def make_tokenizer(words):
    """Byte-level BPE in which every word of `words` becomes one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    # 256 bytes and at most a merge a letter: training ends by itself once every word is whole.
    trainer = trainers.BpeTrainer(vocab_size=4096, min_frequency=1, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator([" " + word for word in sorted(words)], trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False)
                                  for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False)
                          for text in TIMESTAMPS])
    return tokenizer
