//! The flags that say what is written, and where.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::CommandFactory;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use crosslatch_tasks::{Format, Style};

use super::destination::{Destination, Folder};
use crate::{Cli, CommandError};

/// What is written, and where.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// How to write transcripts; with --output-dir, several formats may be named, as in srt,vtt.
    #[arg(short, long, default_value = "text", value_delimiter = ',', ignore_case = true,
          value_parser = formats())]
    format: Vec<Format>,
    /// Write a file for each input and format into this folder, called like the input: talk.mp3
    /// becomes DIR/talk.srt. Inputs that would share a name keep their endings (talk.mp3.srt,
    /// talk.wav.srt); those of one name in several folders are numbered.
    #[arg(short, long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Break lines of srt and vtt so that they have at most so many columns.
    #[arg(long, value_name = "N")]
    max_line_width: Option<NonZeroUsize>,
    /// Show at most so many lines at a time in srt and vtt; longer segments become several.
    #[arg(long, value_name = "N", requires = "max_line_width")]
    max_line_count: Option<NonZeroUsize>,
    /// Show at most so many words at a time in srt and vtt, from the time of the first to that of the
    /// last.
    #[arg(long, value_name = "N")]
    max_words_per_line: Option<NonZeroUsize>,
    /// Underline each word in srt and vtt while it is spoken.
    #[arg(long)]
    highlight_words: bool,
    /// Show no progress and no text above it.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say of each file how long it is, its language, and how fast it was transcribed.
    #[arg(short, long)]
    pub verbose: bool,
}

/// Names of formats, in any case.
fn formats() -> impl TypedValueParser<Value = Format> {
    let names = ["json", "srt", "vtt", "tsv"].map(PossibleValue::new);
    let text = PossibleValue::new("text").alias("txt");
    PossibleValuesParser::new([text].into_iter().chain(names)).try_map(|name| name.parse())
}

impl OutputArgs {
    /// Refuses what is no sensible wish, as wrong usage.
    pub fn check(&self) {
        let refuse = |message: &str| {
            let mut command = Cli::command();
            command.build();
            let command = command.find_subcommand_mut("transcribe");
            if let Some(command) = command {
                command.error(ErrorKind::ArgumentConflict, message).exit();
            }
        };
        if self.format.len() > 1 && self.output_dir.is_none() {
            refuse("several formats need files to go to; name a folder for them with --output-dir");
        }
        let has_lines = |format: &Format| matches!(format, Format::Srt | Format::Vtt);
        if self.max_line_width.is_some() && !self.format.iter().any(has_lines) {
            refuse("only srt and vtt have lines of a width; ask for one of them with --format");
        }
        if self.needs_words() && !self.format.iter().any(has_lines) {
            refuse("only srt and vtt show words one by one; ask for one of them with --format");
        }
    }

    /// Whether what is written needs the times of words.
    pub fn needs_words(&self) -> bool {
        self.max_words_per_line.is_some() || self.highlight_words
    }

    /// Where the texts of these sounds go; makes the folder.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn destination(&self, sounds: &[PathBuf]) -> Result<Destination, CommandError> {
        match &self.output_dir {
            None => Ok(Destination::Stream(self.first())),
            Some(folder) => match Folder::new(folder, &self.format, sounds) {
                Ok(folder) => Ok(Destination::Folder(folder)),
                Err(e) => Err(format!("{}: cannot be made a folder: {e}", folder.display()).into()),
            },
        }
    }

    /// How subtitles are laid out.
    pub fn style(&self) -> Style {
        Style {
            file: None,
            max_line_width: self.max_line_width.map(NonZeroUsize::get),
            max_line_count: self.max_line_count.map(NonZeroUsize::get),
            max_words_per_line: self.max_words_per_line.map(NonZeroUsize::get),
            highlight_words: self.highlight_words,
        }
    }

    fn first(&self) -> Format {
        self.format.first().copied().unwrap_or_default()
    }

    /// The format that decides how to decode: one with times, if there is any.
    pub fn deciding(&self) -> Format {
        let mut formats = self.format.iter().copied();
        formats
            .find(|format| format.needs_timestamps())
            .unwrap_or(self.first())
    }
}
