//! The target `grammar` under libFuzzer.

#![no_main]

crosslatch_fuzz::libfuzzer_target!("grammar");
