//! The target `ggml` under libFuzzer.

#![no_main]

crosslatch_fuzz::libfuzzer_target!("ggml");
