//! The target `sound` under libFuzzer.

#![no_main]

crosslatch_fuzz::libfuzzer_target!("sound");
