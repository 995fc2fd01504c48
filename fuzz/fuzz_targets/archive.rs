//! The target `archive` under libFuzzer.

#![no_main]

crosslatch_fuzz::libfuzzer_target!("archive");
