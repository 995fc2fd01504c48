//! The target `graph` under libFuzzer.

#![no_main]

crosslatch_fuzz::libfuzzer_target!("graph");
