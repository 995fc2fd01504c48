//! The target `program` under libFuzzer.

#![no_main]

crosslatch_fuzz::libfuzzer_target!("program");
