//! The target `npz` under libFuzzer.

#![no_main]

crosslatch_fuzz::libfuzzer_target!("npz");
