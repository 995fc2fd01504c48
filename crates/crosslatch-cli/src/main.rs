//! The command `crosslatch`; everything is in the library.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    crosslatch_cli::main()
}
