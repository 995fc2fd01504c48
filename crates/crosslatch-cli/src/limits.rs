//! How much memory a command may take.

use crosslatch::MemoryLimit;

/// The most memory that a session may take.
#[derive(Clone, Copy, clap::Args)]
pub struct LimitArgs {
    /// The most memory that a session may take for what the model asks for, in bytes or as 512M,
    /// 8G; the memory of this machine unless it is said.
    #[arg(long, value_name = "BYTES")]
    memory_limit: Option<MemoryLimit>,
}

impl LimitArgs {
    /// The limit.
    pub fn memory(self) -> MemoryLimit {
        self.memory_limit.unwrap_or_default()
    }
}
