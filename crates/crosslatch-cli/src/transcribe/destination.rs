//! Where transcripts go: one after the other to standard output, or into files of a folder.
//!
//! In a folder, a file is called like the sound it came from, with the ending of its format. Sounds
//! whose files would have one name keep their own endings (`talk.mp3.srt`, `talk.wav.srt`), and if
//! that is no difference either, as for sounds of one name in two folders, the later ones in the order
//! of the command line are numbered (`talk.mp3.2.srt`). Case makes no difference, since it makes none
//! to some file systems.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crosslatch_tasks::{Format, Style, Transcript};

/// Where all transcripts go.
pub enum Destination {
    /// To standard output, in one format.
    Stream(Format),
    /// Into files of a folder.
    Folder(Folder),
}

/// A folder, and the names of its files.
pub struct Folder {
    folder: PathBuf,
    /// Names without the endings of the formats, one for each sound.
    names: Vec<String>,
    formats: Vec<Format>,
}

impl Folder {
    /// Makes the folder, unless it is there, and decides about names.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn new(folder: &Path, formats: &[Format], sounds: &[PathBuf]) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut unique: Vec<Format> = Vec::new();
        for &format in formats {
            if !unique.contains(&format) {
                unique.push(format);
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            names: names(sounds),
            formats: unique,
        })
    }

    /// The files of the sound at `index`.
    pub fn files(&self, index: usize) -> impl Iterator<Item = (Format, PathBuf)> + '_ {
        self.formats.iter().map(move |&format| {
            let name = format!("{}.{}", self.names[index], format.extension());
            (format, self.folder.join(name))
        })
    }

    /// Writes the files of the sound at `index`.
    ///
    /// # Errors
    /// If a file cannot be written; the text names it.
    pub fn write(&self, index: usize, transcript: &Transcript, style: &Style) -> io::Result<()> {
        for (format, path) in self.files(index) {
            std::fs::write(&path, format.write_with(transcript, style))
                .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
        }
        Ok(())
    }
}

/// A name for each sound, all of them different.
fn names(sounds: &[PathBuf]) -> Vec<String> {
    let text = |part: Option<&OsStr>| match part {
        Some(part) if part != "-" => part.to_string_lossy().into_owned(),
        _ => "stdin".to_owned(),
    };
    let key = |name: &str| name.to_lowercase();
    let mut of_stem: HashMap<String, usize> = HashMap::new();
    for sound in sounds {
        *of_stem.entry(key(&text(sound.file_stem()))).or_default() += 1;
    }
    let mut taken = HashSet::new();
    let named = sounds.iter().map(|sound| {
        let stem = text(sound.file_stem());
        let first = match of_stem[&key(&stem)] {
            1 => stem,
            _ => text(sound.file_name()),
        };
        let numbered = (2..).map(|number| format!("{first}.{number}"));
        let mut candidates = std::iter::once(first.clone()).chain(numbered);
        // There are more numbers than sounds.
        let name = candidates.find(|name| taken.insert(key(name)));
        name.unwrap_or(first)
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(sounds: &[&str]) -> Vec<String> {
        names(&sounds.iter().map(PathBuf::from).collect::<Vec<_>>())
    }

    #[test]
    fn files_are_called_like_their_sounds() {
        assert_eq!(
            named(&["a/talk.mp3", "b.c.wav", "-"]),
            ["talk", "b.c", "stdin"]
        );
    }

    #[test]
    fn sounds_of_one_stem_keep_their_endings() {
        let sounds = ["talk.mp3", "x.wav", "TALK.wav"];
        assert_eq!(named(&sounds), ["talk.mp3", "x", "TALK.wav"]);
    }

    #[test]
    fn sounds_of_one_name_are_numbered() {
        let sounds = ["a/t.mp3", "b/t.mp3", "b/T.MP3", "t.mp3.2.x"];
        let names = named(&sounds);
        assert_eq!(names, ["t.mp3", "t.mp3.2", "T.MP3.3", "t.mp3.2.2"]);
    }

    #[test]
    fn no_two_names_are_equal_whatever_the_sounds() {
        let parts = ["a", "A", "a.b", "a.b.c", "a.2", "a.b.2", "-", "stdin"];
        for i in 0..parts.len().pow(3) {
            let n = parts.len();
            let sounds = [parts[i % n], parts[i / n % n], parts[i / n / n]];
            let names: HashSet<String> = named(&sounds).iter().map(|n| n.to_lowercase()).collect();
            assert_eq!(names.len(), 3, "{sounds:?}");
        }
    }
}
