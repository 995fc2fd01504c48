//! The target `pieces` under libFuzzer.

#![no_main]

crosslatch_fuzz::libfuzzer_target!("pieces");
