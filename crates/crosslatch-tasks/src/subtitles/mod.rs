//! A transcript as text, JSON, SubRip, WebVTT or tab-separated values.
//!
//! The five formats are written the way openai-whisper and faster-whisper write them, so that a
//! file from one tool can replace a file from another. Plain text has one line for each segment;
//! JSON has the text, the language and the numbered segments; SRT and VTT have one cue for each
//! segment, TSV one row. A segment without words makes no cue. Whatever a model writes stays text:
//! line breaks become spaces (an empty line would end a cue), and what a player would read as
//! markup or as an arrow is escaped or replaced.
//!
//! All formats but JSON can be written while the transcript is made: what a segment becomes does not
//! depend on those after it ([`Writer`]). Where words have times, a cue begins with its first word and
//! ends with its last, and each word can be underlined while it is spoken. How much text a cue shows is for the caller to say
//! ([`Style`]).

mod cues;
mod spoken;

use std::fmt::Write as _;
use std::ops::Range;
use std::str::FromStr;

use serde::Serialize;

use crate::transcript::{Segment, Transcript};
use cues::{Cue, cues};

/// A format for a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One line for each segment.
    #[default]
    Text,
    /// One JSON object.
    Json,
    /// SubRip.
    Srt,
    /// WebVTT.
    Vtt,
    /// Tab-separated values.
    Tsv,
}

/// A name other than `text`, `json`, `srt`, `vtt` and `tsv`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown format {0:?}; expected text, json, srt, vtt or tsv")]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name.to_ascii_lowercase().as_str() {
            "text" | "txt" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            "srt" => Ok(Format::Srt),
            "vtt" => Ok(Format::Vtt),
            "tsv" => Ok(Format::Tsv),
            _ => Err(UnknownFormat(name.to_owned())),
        }
    }
}

/// What a written transcript has besides its text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Style {
    /// The file that the sound came from, for JSON.
    pub file: Option<String>,
    /// Most columns of a line in SRT and VTT; a Chinese or Japanese character takes two. With
    /// `None`, all text of a segment is one line.
    pub max_line_width: Option<usize>,
    /// Most lines that SRT and VTT show at a time; a segment with more becomes several cues, which
    /// share its time by their lengths. It needs `max_line_width` to have an effect.
    pub max_line_count: Option<usize>,
    /// Most words that SRT and VTT show at a time, where words have times.
    pub max_words_per_line: Option<usize>,
    /// Whether SRT and VTT underline each word while it is spoken, where words have times.
    pub highlight_words: bool,
}

impl Format {
    /// The transcript as the contents of a file, which ends in a line break unless it is empty.
    pub fn write(self, transcript: &Transcript) -> String {
        self.write_with(transcript, &Style::default())
    }

    /// The same in a certain style.
    pub fn write_with(self, transcript: &Transcript, style: &Style) -> String {
        if self == Format::Json {
            return json(transcript, style);
        }
        let mut writer = Writer::new(self, style.clone());
        let mut out = writer.head().to_owned();
        for segment in &transcript.segments {
            out.push_str(&writer.segment(segment));
        }
        out
    }

    /// Whether each entry says when it is spoken, so that the model should write timestamps.
    pub fn needs_timestamps(self) -> bool {
        matches!(self, Format::Srt | Format::Vtt | Format::Tsv)
    }

    /// How the names of files in this format end, without the point.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Text => "txt",
            Format::Json => "json",
            Format::Srt => "srt",
            Format::Vtt => "vtt",
            Format::Tsv => "tsv",
        }
    }
}

/// Writes a transcript segment by segment, as they are decoded: the head and the segments one after
/// the other are the contents of a file. JSON is written as a whole only, by [`Format::write_with`];
/// here its head and its segments are empty.
#[derive(Debug, Clone)]
pub struct Writer {
    format: Format,
    style: Style,
    /// Number of cues written.
    cues: usize,
}

impl Writer {
    /// A writer at the start of a file.
    pub fn new(format: Format, style: Style) -> Self {
        Self {
            format,
            style,
            cues: 0,
        }
    }

    /// What stands before the first segment.
    pub fn head(&self) -> &'static str {
        match self.format {
            Format::Vtt => "WEBVTT\n\n",
            Format::Tsv => "start\tend\ttext\n",
            Format::Text | Format::Json | Format::Srt => "",
        }
    }

    /// The next segment.
    pub fn segment(&mut self, segment: &Segment) -> String {
        if let Some(channel) = &segment.channel
            && !segment.text.trim().is_empty()
        {
            let text = format!("{channel}: {}", segment.text);
            let channel = None;
            return self.segment(&Segment {
                text,
                channel,
                ..segment.clone()
            });
        }
        match self.format {
            Format::Text => line(segment).map_or_else(String::new, |line| line + "\n"),
            Format::Json => String::new(),
            Format::Srt => self.srt(segment),
            Format::Vtt => self.vtt(segment),
            Format::Tsv => tsv(segment),
        }
    }

    /// Numbered cues, with hours always written and a comma before the milliseconds.
    fn srt(&mut self, segment: &Segment) -> String {
        let mut out = String::new();
        for cue in shown(segment, &self.style) {
            self.cues += 1;
            let (start, end) = (
                timestamp(cue.start, true, ','),
                timestamp(cue.end, true, ','),
            );
            let text = marked(&cue, |text| text.replace("-->", "->"));
            // Writing to a `String` does not fail.
            let _ = write!(out, "{}\n{start} --> {end}\n{text}\n\n", self.cues);
        }
        out
    }

    /// Hours are written only where there are any, a point stands before the milliseconds, and `&`,
    /// `<` and `>` are escaped.
    fn vtt(&mut self, segment: &Segment) -> String {
        let mut out = String::new();
        for cue in shown(segment, &self.style) {
            let (start, end) = (clock(cue.start), clock(cue.end));
            let text = marked(&cue, |text| {
                let text = text.replace('&', "&amp;").replace('<', "&lt;");
                text.replace('>', "&gt;")
            });
            let _ = write!(out, "{start} --> {end}\n{text}\n\n");
        }
        out
    }
}

/// The cues of a segment: by its words, where these have times.
fn shown(segment: &Segment, style: &Style) -> Vec<Cue> {
    match segment.words.as_deref() {
        Some(words) if !words.is_empty() => spoken::cues(words, style),
        _ => cues(segment, style),
    }
}

/// The lines of a cue, with the word that is spoken underlined; `escape` is for text.
fn marked(cue: &Cue, escape: impl Fn(&str) -> String) -> String {
    let text = cue.lines.join("\n");
    let Some(word) = &cue.marked else {
        return escape(&text);
    };
    let part = |range: Range<usize>| escape(text.get(range).unwrap_or_default());
    let (before, behind) = (part(0..word.start), part(word.end..text.len()));
    format!("{before}<u>{}</u>{behind}", part(word.clone()))
}

/// The text of a segment in one line; `None` if it has no words.
fn line(segment: &Segment) -> Option<String> {
    let words: Vec<&str> = segment.text.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// A row of start, end (both in whole milliseconds) and text.
fn tsv(segment: &Segment) -> String {
    let (start, end) = (milliseconds(segment.start), milliseconds(segment.end));
    line(segment).map_or_else(String::new, |line| format!("{start}\t{end}\t{line}\n"))
}

/// One JSON object: `file` if it is known, `text`, `language`, `duration`, and `segments` with `id`,
/// `seek`, `start`, `end`, `text`, `tokens`, `avg_logprob`, `compression_ratio`, `no_speech_prob`,
/// `temperature`, `complete` and, if words have times or channels are told apart, `words` and
/// `channel`. Times are in seconds.
fn json(transcript: &Transcript, style: &Style) -> String {
    #[derive(Serialize)]
    struct Numbered<'a> {
        id: usize,
        #[serde(flatten)]
        segment: &'a Segment,
    }
    #[derive(Serialize)]
    struct Document<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<&'a str>,
        text: &'a str,
        language: Option<&'a str>,
        duration: f64,
        segments: Vec<Numbered<'a>>,
    }
    let segments = transcript.segments.iter().enumerate();
    let document = Document {
        file: style.file.as_deref(),
        text: &transcript.text,
        language: transcript.language.as_deref(),
        duration: transcript.duration,
        segments: segments
            .map(|(id, segment)| Numbered { id, segment })
            .collect(),
    };
    // The document consists of strings, numbers and lists, all of which JSON can hold.
    let mut out = serde_json::to_string_pretty(&document).unwrap_or_default();
    out.push('\n');
    out
}

/// A point in time as WebVTT writes it, for people: `[HH:]MM:SS.mmm`.
pub fn clock(seconds: f64) -> String {
    timestamp(seconds, false, '.')
}

/// The nearest millisecond. Negative times and NaN become zero.
fn milliseconds(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1_000.0).round() as u64
}

/// `[HH:]MM:SS` and, after `mark`, the milliseconds. Negative times and NaN are written as zero.
fn timestamp(seconds: f64, always_hours: bool, mark: char) -> String {
    let milliseconds = milliseconds(seconds);
    let (whole, milliseconds) = (milliseconds / 1_000, milliseconds % 1_000);
    let (hours, minutes, seconds) = (whole / 3_600, whole / 60 % 60, whole % 60);
    let rest = format!("{minutes:02}:{seconds:02}{mark}{milliseconds:03}");
    if always_hours || hours > 0 {
        format!("{hours:02}:{rest}")
    } else {
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript() -> Transcript {
        let segment = |start, end, text: &str| Segment {
            seek: 0,
            start,
            end,
            text: text.to_owned(),
            tokens: vec![7, 8],
            avg_logprob: -0.25,
            compression_ratio: 1.0,
            no_speech_prob: None,
            temperature: 0.0,
            complete: true,
            words: None,
            channel: None,
        };
        Transcript {
            text: "Tom & <Jerry>\n\n1 --> 2 end".to_owned(),
            language: Some("en".to_owned()),
            duration: 3_661.5,
            segments: vec![
                segment(0.0, 30.0, "Tom & <Jerry>\n\n1 --> 2"),
                segment(30.0, 60.0, "  "),
                segment(3_600.0, 3_661.5, "end"),
            ],
        }
    }

    #[test]
    fn timestamps_round_to_the_nearest_millisecond_and_carry() {
        for (seconds, short, long) in [
            (0.0, "00:00.000", "00:00:00,000"),
            (0.0004, "00:00.000", "00:00:00,000"),
            (0.0006, "00:00.001", "00:00:00,001"),
            (59.9994, "00:59.999", "00:00:59,999"),
            (59.9996, "01:00.000", "00:01:00,000"),
            (3599.9999, "01:00:00.000", "01:00:00,000"),
            (3_600.0, "01:00:00.000", "01:00:00,000"),
            (86_399.5, "23:59:59.500", "23:59:59,500"),
            (360_000.25, "100:00:00.250", "100:00:00,250"),
            (-1.0, "00:00.000", "00:00:00,000"),
            (f64::NAN, "00:00.000", "00:00:00,000"),
        ] {
            assert_eq!(timestamp(seconds, false, '.'), short);
            assert_eq!(timestamp(seconds, true, ','), long);
        }
    }

    #[test]
    fn text_has_a_line_for_each_segment() {
        assert_eq!(
            Format::Text.write(&transcript()),
            "Tom & <Jerry> 1 --> 2\nend\n"
        );
    }

    #[test]
    fn srt_numbers_its_cues_and_replaces_arrows() {
        assert_eq!(
            Format::Srt.write(&transcript()),
            "1\n00:00:00,000 --> 00:00:30,000\nTom & <Jerry> 1 -> 2\n\n\
             2\n01:00:00,000 --> 01:01:01,500\nend\n\n"
        );
    }

    #[test]
    fn vtt_escapes_markup() {
        assert_eq!(
            Format::Vtt.write(&transcript()),
            "WEBVTT\n\n00:00.000 --> 00:30.000\nTom &amp; &lt;Jerry&gt; 1 --&gt; 2\n\n\
             01:00:00.000 --> 01:01:01.500\nend\n\n"
        );
    }

    #[test]
    fn tsv_has_milliseconds_and_one_row_for_each_segment() {
        assert_eq!(
            Format::Tsv.write(&transcript()),
            "start\tend\ttext\n0\t30000\tTom & <Jerry> 1 --> 2\n3600000\t3661500\tend\n"
        );
    }

    #[test]
    fn json_holds_everything() {
        let value: serde_json::Value =
            serde_json::from_str(&Format::Json.write(&transcript())).unwrap();
        assert_eq!(value["language"], "en");
        assert_eq!(value["segments"][2]["id"], 2);
        assert_eq!(value["segments"][2]["start"], 3_600.0);
        assert_eq!(value["segments"][0]["tokens"], serde_json::json!([7, 8]));
        assert_eq!(value["segments"][0]["avg_logprob"], -0.25);
        assert!(value.get("file").is_none());
        let style = Style {
            file: Some("a.mp3".to_owned()),
            ..Style::default()
        };
        let named = Format::Json.write_with(&transcript(), &style);
        assert!(named.starts_with("{\n  \"file\": \"a.mp3\",\n"));
    }

    #[test]
    fn cues_show_so_many_lines_at_a_time_and_share_the_time_of_their_segment() {
        let mut spoken = transcript();
        spoken.segments.truncate(1);
        spoken.segments[0].text = "aaaa bbbb cccc dddd eeee ffff".to_owned();
        let style = |max_line_count| Style {
            max_line_width: Some(9),
            max_line_count,
            ..Style::default()
        };
        assert_eq!(
            Format::Vtt.write_with(&spoken, &style(None)),
            "WEBVTT\n\n00:00.000 --> 00:30.000\naaaa bbbb\ncccc dddd\neeee ffff\n\n"
        );
        assert_eq!(
            Format::Srt.write_with(&spoken, &style(Some(2))),
            "1\n00:00:00,000 --> 00:00:20,000\naaaa bbbb\ncccc dddd\n\n\
             2\n00:00:20,000 --> 00:00:30,000\neeee ffff\n\n"
        );
    }

    #[test]
    fn segments_one_by_one_are_the_file() {
        let transcript = transcript();
        for format in [Format::Text, Format::Srt, Format::Vtt, Format::Tsv] {
            let mut writer = Writer::new(format, Style::default());
            let mut file = writer.head().to_owned();
            for segment in &transcript.segments {
                file += &writer.segment(segment);
            }
            assert_eq!(file, format.write(&transcript));
        }
    }

    #[test]
    fn formats_are_known_by_name() {
        assert_eq!("SRT".parse(), Ok(Format::Srt));
        assert!(
            "docx"
                .parse::<Format>()
                .unwrap_err()
                .to_string()
                .contains("vtt")
        );
    }
}
