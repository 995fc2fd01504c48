//! The target `config` under libFuzzer.

#![no_main]

crosslatch_fuzz::libfuzzer_target!("config");
