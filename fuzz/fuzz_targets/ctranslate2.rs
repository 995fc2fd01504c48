//! The target `ctranslate2` under libFuzzer.

#![no_main]

crosslatch_fuzz::libfuzzer_target!("ctranslate2");
