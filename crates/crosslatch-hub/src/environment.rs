//! Where the cache and the hub are, and who asks, by the variables that all tools of the hub read.

use std::path::PathBuf;

use crate::cache::Cache;

/// The hub of everybody who sets nothing else.
const ENDPOINT: &str = "https://huggingface.co";

/// A hub and the cache of what came from it.
#[derive(Clone, Debug)]
pub struct Hub {
    /// The cache.
    pub cache: Cache,
    /// The hub's address.
    pub endpoint: String,
    /// Who asks.
    pub token: Option<String>,
    /// A file with certificates to trust, if not those that are built in.
    pub certificates: Option<PathBuf>,
    /// Whether connections are ruled out.
    pub is_offline: bool,
}

impl Hub {
    /// What the variables say.
    pub fn from_environment() -> Hub {
        let path = |name: &str| text(name).map(PathBuf::from);
        let home = path("HF_HOME")
            .unwrap_or_else(|| user_caches().unwrap_or_default().join("huggingface"));
        let token = || {
            let file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
            let token = std::fs::read_to_string(file).ok()?;
            let token = token.trim();
            (!token.is_empty()).then(|| token.to_owned())
        };
        let is_offline = text("HF_HUB_OFFLINE").is_some_and(|value| {
            ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str())
        });
        Hub {
            cache: Cache::new(path("HF_HUB_CACHE").unwrap_or_else(|| home.join("hub"))),
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned()),
            token: text("HF_TOKEN").or_else(token),
            certificates: path("SSL_CERT_FILE"),
            is_offline,
        }
    }
}

/// The folder in which programs keep for the user what they can make anew.
fn user_caches() -> Option<PathBuf> {
    let path = |name: &str| text(name).map(PathBuf::from);
    path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")))
}

/// The folder for what this program can make anew, if the user has such a folder.
pub fn own_cache() -> Option<PathBuf> {
    let caches = if cfg!(windows) {
        text("LOCALAPPDATA").map(PathBuf::from)
    } else {
        user_caches()
    };
    Some(caches?.join("crosslatch"))
}

/// A variable's value, unless it is empty.
fn text(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}
