//! `crosslatch generate`: text to text.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crosslatch::{Options, Precision};
use crosslatch_tasks::{ExportedTextModel, GenerateOptions, Generation, text_pipeline};

use crate::limits::{GrammarArgs, LimitArgs};
use crate::{CommandError, model};

/// Writes what a model makes of texts: translations, summaries, answers.
///
/// Texts are lines of files, or given by --text; each gives one line, in order and as soon as it is
/// there. A blank line gives a blank line. What makes a model a translator (languages, lengths,
/// beams) is in its file; the options change it.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    crosslatch generate --model opus-mt-en-de.pt2 --text 'How are you?'\n  \
    crosslatch generate --model nllb.pt2 --source-language eng_Latn --target-language fra_Latn book.txt\n  \
    crosslatch generate --model t5.pt2 --prefix 'summarize: ' --max-tokens 60 --truncate - < notes.txt\n  \
    crosslatch generate --model opus-mt-en-de.pt2 --batch 8 book.txt > buch.txt\n  \
    crosslatch generate --model bart-cnn.pt2 --beam-size 4 --alternatives 3 --format json news.txt")]
pub struct Args {
    /// Files with one text a line; `-` is standard input.
    #[arg(value_name = "FILE", required_unless_present = "text")]
    files: Vec<PathBuf>,
    /// A text; may be given several times, and goes before the files.
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,
    /// The model: a .pt2 file, a folder of Hugging Face, or a name on the hub such as
    /// google/flan-t5-small, which is downloaded once.
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// How to write a result: its text, or a JSON object with text, source, tokens and score.
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    format: String,
    /// How weights are stored: f32, bf16, int8 or int4.
    #[arg(long, value_name = "P", default_value_t)]
    precision: Precision,
    #[command(flatten)]
    limits: LimitArgs,
    /// Threads to use; all cores if left out.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Decode so many texts at a time, which share the threads and read each weight once. It changes
    /// no text. As many as the model was exported for if left out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: Option<u16>,
    /// Inputs that stay the same for a text, for a model that was exported without latching:
    /// `encoder_hidden_states,encoder_attention_mask`.
    #[arg(long, value_name = "INPUT", value_delimiter = ',')]
    latch: Vec<String>,
    #[command(flatten)]
    file: model::FileArgs,
    #[command(flatten)]
    generating: Generating,
    #[command(flatten)]
    grammar: GrammarArgs,
}

/// How to generate.
#[derive(clap::Args)]
#[command(next_help_heading = "Generating")]
struct Generating {
    /// Put this before every text: the task in words, as T5 wants it.
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// The language of the texts, as the model names it: eng_Latn, en_XX, en.
    #[arg(long, value_name = "LANGUAGE")]
    source_language: Option<String>,
    /// The language to write in, as the model names it.
    #[arg(long, value_name = "LANGUAGE")]
    target_language: Option<String>,
    /// Follow so many texts at once and take the best; 1 takes the best token at each step.
    #[arg(long, value_name = "N")]
    beam_size: Option<usize>,
    /// Add the N next best texts to each JSON object; fewer than beams.
    #[arg(long, value_name = "N")]
    alternatives: Option<usize>,
    /// Write at most so many tokens.
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Write at least so many tokens.
    #[arg(long, value_name = "N")]
    min_tokens: Option<usize>,
    /// Let no run of so many tokens come twice; 0 for any.
    #[arg(long, value_name = "N")]
    no_repeat_ngram: Option<usize>,
    /// Above 1, make tokens less probable that were there already.
    #[arg(long, value_name = "X")]
    repetition_penalty: Option<f32>,
    /// Above 0, let beams favour longer texts, below 0 shorter ones.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    length_penalty: Option<f32>,
    /// Cut off the end of a text that is too long for the model.
    #[arg(long)]
    truncate: bool,
    /// Say of each token which token of the source it comes from, in each JSON object.
    #[arg(long)]
    alignment: bool,
}

impl Generating {
    fn options(&self) -> GenerateOptions {
        GenerateOptions {
            prefix: self.prefix.clone(),
            source_language: self.source_language.clone(),
            target_language: self.target_language.clone(),
            beam_size: self.beam_size,
            alternatives: self.alternatives,
            max_new_tokens: self.max_tokens,
            min_new_tokens: self.min_tokens,
            no_repeat_ngram_size: self.no_repeat_ngram,
            repetition_penalty: self.repetition_penalty,
            length_penalty: self.length_penalty,
            grammar: None,
            truncate: self.truncate,
            alignment: self.alignment,
        }
    }
}

/// Runs the command.
pub fn generate(args: &Args) -> Result<(), CommandError> {
    let at_model = |e: &dyn std::fmt::Display| format!("{}: {e}", args.model.display());
    let model = model::open(&args.model, &args.latch, &args.file)?;
    let pipeline = text_pipeline(&model).map_err(|e| at_model(&e))?;
    let wanted = GenerateOptions {
        grammar: args.grammar.read()?,
        ..args.generating.options()
    };
    pipeline.plan(&wanted).map_err(|e| at_model(&e))?;
    let mut options = Options {
        precision: args.precision,
        memory_limit: args.limits.memory(),
        ..Options::default()
    };
    if let Some(threads) = args.threads {
        options.threads = threads;
    }
    let batch = match args.batch {
        Some(batch) => usize::from(batch),
        None => ExportedTextModel::batch_of(&model).map_err(|e| at_model(&e))?,
    };
    let models = ExportedTextModel::several(&model, options, batch);
    let mut models = models.map_err(|e| at_model(&e))?;
    let unreadable = Mutex::new(None);
    let mut failed = None;
    let lines = Lines::new(args, &unreadable);
    pipeline.generate_all(&mut models, lines, &wanted, |line: Line, result| {
        let result = result.map_err(|e| format!("{}: {e}", line.place).into());
        match result.and_then(|generation| write(&generation, args.format == "json")) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    let unreadable = unreadable.into_inner().unwrap_or_default();
    match failed.or(unreadable.map(CommandError::from)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// A text.
struct Line {
    text: String,
    /// What messages call it.
    place: String,
}

impl AsRef<str> for Line {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// The texts of a command: those that it names, then the lines of its files. They end at a file that
/// cannot be read.
struct Lines<'a> {
    named: std::iter::Enumerate<std::slice::Iter<'a, String>>,
    files: std::slice::Iter<'a, PathBuf>,
    /// The file that is being read: its name, and its lines with their numbers.
    open: Option<(String, NumberedLines)>,
    /// Where it is told why a file cannot be read.
    unreadable: &'a Mutex<Option<String>>,
}

type NumberedLines = std::iter::Enumerate<std::io::Lines<Box<dyn BufRead + Send>>>;

impl<'a> Lines<'a> {
    fn new(args: &'a Args, unreadable: &'a Mutex<Option<String>>) -> Self {
        Lines {
            named: args.text.iter().enumerate(),
            files: args.files.iter(),
            open: None,
            unreadable,
        }
    }

    fn next_line(&mut self) -> Result<Option<Line>, String> {
        if let Some((i, text)) = self.named.next() {
            let (text, place) = (text.clone(), format!("text {}", i + 1));
            return Ok(Some(Line { text, place }));
        }
        loop {
            if let Some((name, lines)) = &mut self.open
                && let Some((i, line)) = lines.next()
            {
                let place = format!("{name}: line {}", i + 1);
                let text = line.map_err(|e| format!("{place}: {e}"))?;
                let text = text.strip_suffix('\r').unwrap_or(&text).to_owned();
                return Ok(Some(Line { text, place }));
            }
            let Some(path) = self.files.next() else {
                return Ok(None);
            };
            let (name, reader): (String, Box<dyn BufRead + Send>) = match path.to_str() {
                Some("-") => {
                    let reader = BufReader::new(std::io::stdin());
                    ("standard input".into(), Box::new(reader))
                }
                _ => {
                    let name = path.display().to_string();
                    let file = File::open(path).map_err(|e| format!("{name}: {e}"))?;
                    (name, Box::new(BufReader::new(file)))
                }
            };
            self.open = Some((name, reader.lines().enumerate()));
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        match self.next_line() {
            Ok(line) => line,
            Err(error) => {
                (self.named, self.files, self.open) = ([].iter().enumerate(), [].iter(), None);
                *self
                    .unreadable
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = Some(error);
                None
            }
        }
    }
}

/// Writes a result as one line.
fn write(generation: &Generation, is_json: bool) -> Result<(), CommandError> {
    let line = match is_json {
        true => serde_json::to_string(generation)?,
        // Each text is one line, whatever the model writes.
        false => generation.best.text.replace(['\n', '\r'], " "),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
