//! The target `multipart` under libFuzzer.

#![no_main]

crosslatch_fuzz::libfuzzer_target!("multipart");
