//! The tokenizer alone: `tokens FOLDER` reads a JSON list of texts from standard input and prints, for
//! each, the token ids that the folder's tokenizer makes of it, and what it makes of the ids.

use std::collections::HashMap;
use std::error::Error;
use std::io::{Write, stdin, stdout};

use crosslatch_tasks::TextTokenizer;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("name a folder")?;
    let mut files = HashMap::new();
    for entry in std::fs::read_dir(&folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string();
        let is_small = entry.metadata()?.len() < 64 << 20;
        if let Some(name) = name.ok().filter(|_| is_small) {
            files.insert(name, std::fs::read(entry.path())?);
        }
    }
    let tokenizer = TextTokenizer::from_files(|name| files.get(name).map(Vec::as_slice))?;
    let texts: Vec<String> = serde_json::from_reader(stdin().lock())?;
    let mut out = stdout().lock();
    for text in texts {
        let ids = tokenizer.encode(&text, true)?;
        let again = tokenizer.decode(&ids)?;
        writeln!(out, "{}", serde_json::json!({ "ids": ids, "text": again }))?;
    }
    Ok(())
}
