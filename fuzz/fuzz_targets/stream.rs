//! The target `stream` under libFuzzer.

#![no_main]

crosslatch_fuzz::libfuzzer_target!("stream");
