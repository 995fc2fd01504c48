//! The sound in work, and what has come of it so far.
//!
//! Text is worth having as soon as it is there: it is shown above the bar word by word, or written to
//! standard output if its format can be written piece by piece. All of it is also kept here, because the work
//! may end early, by Ctrl-C or by an error: what was decoded until then is written like a whole
//! transcript.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crosslatch_tasks::{
    Event, Format, Segment, Style, Transcript, Writer, clock, speech::append_text,
};

use super::destination::Destination;
use super::screen::{Screen, minutes};
use crate::terminal::printable;

/// All sounds of a command line, one of them in work.
pub struct Work {
    destination: Destination,
    style: Style,
    sounds: Vec<PathBuf>,
    /// The lower end of the terminal.
    pub screen: Screen,
    current: Option<Current>,
    /// Whether anything was written to standard output.
    has_written: bool,
}

/// The sound in work.
struct Current {
    index: usize,
    /// What has been decoded.
    transcript: Transcript,
    /// Text that was told and is in no segment yet.
    growing: String,
    /// Seconds of the sound that are done.
    done: f64,
    /// Writes segments to standard output, if they go there one by one.
    writer: Option<Writer>,
}

impl Work {
    /// No sound in work.
    pub fn new(
        destination: Destination,
        style: Style,
        sounds: Vec<PathBuf>,
        screen: Screen,
    ) -> Self {
        Self {
            destination,
            style,
            sounds,
            screen,
            current: None,
            has_written: false,
        }
    }

    /// Shows that the sound at `index` is being read.
    pub fn reading(&mut self, index: usize) {
        let name = self.label(index);
        self.screen.reading(&name);
    }

    /// Begins with the sound at `index`, which is `duration` seconds long.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn begin(&mut self, index: usize, duration: f64) -> io::Result<()> {
        let name = self.label(index);
        self.screen.decoding(&name, duration);
        let writer = match self.destination {
            Destination::Stream(Format::Json) | Destination::Folder(_) => None,
            Destination::Stream(format) => Some(Writer::new(format, self.style.clone())),
        };
        let mut head = String::new();
        if let Some(writer) = &writer {
            if self.sounds.len() > 1 {
                let gap = if self.has_written { "\n" } else { "" };
                let name = printable(&self.sounds[index].display().to_string());
                head = format!("{gap}==> {name} <==\n");
            }
            head.push_str(writer.head());
        }
        self.current = Some(Current {
            index,
            transcript: Transcript {
                text: String::new(),
                language: None,
                duration,
                segments: Vec::new(),
            },
            growing: String::new(),
            done: 0.0,
            writer,
        });
        self.write(&head)
    }

    /// Takes in what the decoder reports. Breaks if standard output cannot be written any more, with
    /// the reason.
    pub fn observe(&mut self, event: Event<'_>) -> ControlFlow<io::Error> {
        let Some(current) = &mut self.current else {
            return ControlFlow::Continue(());
        };
        match event {
            Event::Languages(found) => {
                let likeliest = found.first().map(|language| language.code.clone());
                current.transcript.language = likeliest;
            }
            Event::Progress { done, .. } => {
                current.done = done;
                self.screen.done(done);
            }
            Event::Text(text) => {
                current.growing.push_str(text);
                self.screen.text(&current.growing);
            }
            Event::Segment(segment) => {
                let transcript = &mut current.transcript;
                let before = transcript.text.len();
                if !segment.text.is_empty() {
                    append_text(&mut transcript.text, &segment.text);
                }
                let new = transcript.text.len() - before;
                current.growing = current.growing.get(new..).unwrap_or_default().to_owned();
                transcript.segments.push(segment.clone());
                self.screen.text(&current.growing);
                if let Err(error) = self.show(segment) {
                    return ControlFlow::Break(error);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Writes the whole transcript, as far as it has not been written.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(&mut self, transcript: &Transcript) -> io::Result<()> {
        self.screen.clear();
        match self.current.take() {
            Some(current) => self.keep(&current, transcript),
            None => Ok(()),
        }
    }

    /// Writes what has been decoded of the sound in work, and says where that ends; nothing if no
    /// sound is in work.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn stop(&mut self) -> io::Result<Option<String>> {
        self.screen.clear();
        let Some(current) = self.current.take() else {
            return Ok(None);
        };
        let sound = printable(&self.sounds[current.index].display().to_string());
        let (done, duration) = (current.done, current.transcript.duration);
        let until = format!("{} of {} of {sound}", minutes(done), minutes(duration));
        if current.transcript.segments.is_empty() {
            return Ok(Some(format!("stopped at {until}, before any text")));
        }
        self.keep(&current, &current.transcript)?;
        let place = match &self.destination {
            Destination::Stream(_) => "has been written".to_owned(),
            Destination::Folder(folder) => {
                let files = folder.files(current.index);
                let files: Vec<String> = files.map(|(_, f)| f.display().to_string()).collect();
                format!("is in {}", files.join(", "))
            }
        };
        Ok(Some(format!(
            "stopped at {until}; the text up to there {place}"
        )))
    }

    fn keep(&mut self, current: &Current, transcript: &Transcript) -> io::Result<()> {
        let style = Style {
            file: Some(self.sounds[current.index].display().to_string()),
            ..self.style.clone()
        };
        match &self.destination {
            Destination::Stream(Format::Json) => {
                let text = Format::Json.write_with(transcript, &style);
                self.write(&text)
            }
            Destination::Stream(_) => Ok(()),
            Destination::Folder(folder) => folder.write(current.index, transcript, &style),
        }
    }

    /// Writes a segment to standard output, or above the bar.
    fn show(&mut self, segment: &Segment) -> io::Result<()> {
        let is_seen = io::stdout().is_terminal();
        let Some(writer) = self.current.as_mut().and_then(|c| c.writer.as_mut()) else {
            return self.above(segment);
        };
        let text = writer.segment(segment);
        let is_plain = matches!(self.destination, Destination::Stream(Format::Text));
        match (is_seen, is_plain) {
            (true, true) => self.write(&timed(segment).map_or_else(String::new, |l| l + "\n")),
            (true, false) => self.write(&text),
            (false, _) => {
                self.write(&text)?;
                self.above(segment)
            }
        }
    }

    fn above(&self, segment: &Segment) -> io::Result<()> {
        if let Some(line) = timed(segment) {
            self.screen.line(&line);
        }
        Ok(())
    }

    /// Writes to standard output at once.
    fn write(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.has_written = true;
        self.screen.aside(|| {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        })
    }

    /// What the bar calls the sound at `index`.
    fn label(&self, index: usize) -> String {
        let path = &self.sounds[index];
        let name = Path::new(path.file_name().unwrap_or(path.as_os_str())).display();
        match self.sounds.len() {
            1 => name.to_string(),
            all => format!("{name} ({} of {all})", index + 1),
        }
    }
}

/// A segment as a line with times for a terminal; `None` if it has no words.
fn timed(segment: &Segment) -> Option<String> {
    let words: Vec<&str> = segment.text.split_whitespace().collect();
    let (start, end) = (clock(segment.start), clock(segment.end));
    (!words.is_empty()).then(|| format!("[{start} --> {end}] {}", printable(&words.join(" "))))
}
