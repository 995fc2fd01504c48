//! The target `tokenizer` under libFuzzer.

#![no_main]

crosslatch_fuzz::libfuzzer_target!("tokenizer");
