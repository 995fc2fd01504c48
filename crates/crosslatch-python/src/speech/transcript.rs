//! What comes of a sound, as Python objects: values that can be compared, pickled and written down.

use std::num::NonZeroUsize;

use crosslatch_tasks::{Format, SpokenLanguage, Style};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::shown::shown;

/// A word, with the punctuation and the space that belong to it.
#[pyclass(frozen, get_all, eq, module = "crosslatch", from_py_object)]
#[derive(Clone, PartialEq)]
pub struct Word {
    /// Where it begins, in seconds.
    start: f64,
    /// Where it ends, in seconds.
    end: f64,
    /// The word.
    word: String,
    /// Mean probability of its tokens.
    probability: f32,
}

impl Word {
    fn new(word: &crosslatch_tasks::Word) -> Word {
        Word {
            start: word.start,
            end: word.end,
            word: word.word.clone(),
            probability: word.probability,
        }
    }

    fn written(&self) -> crosslatch_tasks::Word {
        crosslatch_tasks::Word {
            start: self.start,
            end: self.end,
            word: self.word.clone(),
            probability: self.probability,
        }
    }
}

#[pymethods]
impl Word {
    #[new]
    #[pyo3(signature = (*, start, end, word, probability = 1.0))]
    fn make(start: f64, end: f64, word: String, probability: f32) -> Word {
        Word {
            start,
            end,
            word,
            probability,
        }
    }

    /// All of it as a dictionary, with the names that the JSON of the command has.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        dict.set_item("start", self.start)?;
        dict.set_item("end", self.end)?;
        dict.set_item("word", &self.word)?;
        dict.set_item("probability", self.probability)?;
        Ok(dict)
    }

    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        Ok((PyTuple::empty(py), self.to_dict(py)?))
    }

    fn __repr__(&self) -> String {
        let Word { start, end, .. } = self;
        let word = shown(&self.word);
        format!("<crosslatch.Word {start:.2} to {end:.2} s: {word}>")
    }
}

/// A word, or what [`Word::to_dict`] makes of one.
#[derive(FromPyObject)]
enum AnyWord {
    Word(Word),
    #[pyo3(transparent)]
    Dict(WordDict),
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct WordDict {
    start: f64,
    end: f64,
    word: String,
    probability: f32,
}

impl From<AnyWord> for Word {
    fn from(word: AnyWord) -> Word {
        match word {
            AnyWord::Word(word) => word,
            AnyWord::Dict(WordDict {
                start,
                end,
                word,
                probability,
            }) => Word::make(start, end, word, probability),
        }
    }
}

/// The text of a stretch of sound.
#[pyclass(frozen, get_all, eq, module = "crosslatch", from_py_object)]
#[derive(Clone, PartialEq)]
pub struct Segment {
    /// Its number in the transcript, from 0.
    pub id: usize,
    /// Where the window begins that it was decoded in, in hundredths of a second.
    seek: u64,
    /// Where it begins, in seconds.
    start: f64,
    /// Where it ends, in seconds.
    end: f64,
    /// The text.
    text: String,
    /// The tokens that the model chose for it.
    tokens: Vec<u32>,
    /// Temperature at which it was decoded; 0 if no token was drawn at random.
    temperature: f32,
    /// Mean natural logarithm of the tokens' probabilities.
    avg_logprob: f32,
    /// How well the tokens can be compressed; high for a text that repeats itself.
    compression_ratio: f32,
    /// Probability that nothing is spoken; `None` if no threshold asks for it.
    no_speech_prob: Option<f32>,
    /// Whether the model ended the text itself; `False` if it was cut off at the greatest length.
    complete: bool,
    /// The words with their times; `None` unless they were asked for, and the model can say them.
    words: Option<Vec<Word>>,
    /// The channel in which it is spoken, if channels are transcribed by themselves.
    channel: Option<String>,
}

impl Segment {
    /// A segment of a transcript, and its number there.
    pub fn new(id: usize, segment: &crosslatch_tasks::Segment) -> Segment {
        Segment {
            id,
            seek: segment.seek,
            start: segment.start,
            end: segment.end,
            text: segment.text.clone(),
            tokens: segment.tokens.clone(),
            temperature: segment.temperature,
            avg_logprob: segment.avg_logprob,
            compression_ratio: segment.compression_ratio,
            no_speech_prob: segment.no_speech_prob,
            complete: segment.complete,
            words: segment
                .words
                .as_ref()
                .map(|words| words.iter().map(Word::new).collect()),
            channel: segment.channel.clone(),
        }
    }

    fn written(&self) -> crosslatch_tasks::Segment {
        crosslatch_tasks::Segment {
            seek: self.seek,
            start: self.start,
            end: self.end,
            text: self.text.clone(),
            tokens: self.tokens.clone(),
            avg_logprob: self.avg_logprob,
            compression_ratio: self.compression_ratio,
            no_speech_prob: self.no_speech_prob,
            temperature: self.temperature,
            complete: self.complete,
            words: self
                .words
                .as_ref()
                .map(|words| words.iter().map(Word::written).collect()),
            channel: self.channel.clone(),
        }
    }
}

#[pymethods]
impl Segment {
    #[new]
    #[pyo3(signature = (*, start, end, text, id = 0, seek = 0, tokens = Vec::new(), temperature = 0.0,
                        avg_logprob = 0.0, compression_ratio = 0.0, no_speech_prob = None,
                        complete = true, words = None, channel = None))]
    #[expect(clippy::too_many_arguments, reason = "they are named in Python")]
    fn make(
        start: f64,
        end: f64,
        text: String,
        id: usize,
        seek: u64,
        tokens: Vec<u32>,
        temperature: f32,
        avg_logprob: f32,
        compression_ratio: f32,
        no_speech_prob: Option<f32>,
        complete: bool,
        words: Option<Vec<AnyWord>>,
        channel: Option<String>,
    ) -> Segment {
        Segment {
            id,
            seek,
            start,
            end,
            text,
            tokens,
            temperature,
            avg_logprob,
            compression_ratio,
            no_speech_prob,
            complete,
            words: words.map(|words| words.into_iter().map(Word::from).collect()),
            channel,
        }
    }

    /// All of it as a dictionary, with the names that the JSON of the command has.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        dict.set_item("id", self.id)?;
        dict.set_item("seek", self.seek)?;
        dict.set_item("start", self.start)?;
        dict.set_item("end", self.end)?;
        dict.set_item("text", &self.text)?;
        dict.set_item("tokens", &self.tokens)?;
        dict.set_item("avg_logprob", self.avg_logprob)?;
        dict.set_item("compression_ratio", self.compression_ratio)?;
        dict.set_item("no_speech_prob", self.no_speech_prob)?;
        dict.set_item("temperature", self.temperature)?;
        dict.set_item("complete", self.complete)?;
        if let Some(words) = &self.words {
            let words = words.iter().map(|word| word.to_dict(py));
            dict.set_item("words", words.collect::<PyResult<Vec<_>>>()?)?;
        }
        if let Some(channel) = &self.channel {
            dict.set_item("channel", channel)?;
        }
        Ok(dict)
    }

    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        Ok((PyTuple::empty(py), self.to_dict(py)?))
    }

    fn __repr__(&self) -> String {
        let Segment { start, end, .. } = self;
        let text = shown(&self.text);
        format!("<crosslatch.Segment {start:.2} to {end:.2} s: {text}>")
    }
}

/// A whole transcript.
#[pyclass(frozen, get_all, eq, module = "crosslatch", from_py_object)]
#[derive(Clone, PartialEq)]
pub struct Transcript {
    /// The text.
    text: String,
    /// The language spoken, as a code such as `en`; `None` if the model names none.
    language: Option<String>,
    /// Length of the sound in seconds.
    duration: f64,
    /// The segments, in order of time.
    segments: Vec<Segment>,
}

impl From<crosslatch_tasks::Transcript> for Transcript {
    fn from(transcript: crosslatch_tasks::Transcript) -> Self {
        let segments = transcript.segments.iter().enumerate();
        Transcript {
            segments: segments.map(|(id, s)| Segment::new(id, s)).collect(),
            text: transcript.text,
            language: transcript.language,
            duration: transcript.duration,
        }
    }
}

#[pymethods]
impl Transcript {
    #[new]
    #[pyo3(signature = (segments, *, text = None, language = None, duration = None))]
    fn make(
        segments: Vec<Segment>,
        text: Option<String>,
        language: Option<String>,
        duration: Option<f64>,
    ) -> Transcript {
        let joined = || {
            let texts = segments.iter().map(|segment| segment.text.trim());
            texts
                .filter(|t| !t.is_empty())
                .fold(String::new(), |mut all, text| {
                    crosslatch_tasks::speech::append_text(&mut all, text);
                    all
                })
        };
        Transcript {
            text: text.unwrap_or_else(joined),
            language,
            duration: duration.unwrap_or(segments.last().map_or(0.0, |last| last.end)),
            segments,
        }
    }

    /// The transcript as the contents of a file: "text", "json", "srt", "vtt" or "tsv", as the
    /// command `crosslatch transcribe --format` writes it. Subtitles are laid out as the flags of the
    /// same names say.
    #[pyo3(signature = (format, *, max_line_width = None, max_line_count = None,
                        max_words_per_line = None, highlight_words = false))]
    fn to(
        &self,
        format: &str,
        max_line_width: Option<NonZeroUsize>,
        max_line_count: Option<NonZeroUsize>,
        max_words_per_line: Option<NonZeroUsize>,
        highlight_words: bool,
    ) -> PyResult<String> {
        let format = format.parse::<Format>();
        let format = format.map_err(|e| PyValueError::new_err(e.to_string()))?;
        let style = Style {
            max_line_width: max_line_width.map(NonZeroUsize::get),
            max_line_count: max_line_count.map(NonZeroUsize::get),
            max_words_per_line: max_words_per_line.map(NonZeroUsize::get),
            highlight_words,
            ..Style::default()
        };
        let transcript = crosslatch_tasks::Transcript {
            text: self.text.clone(),
            language: self.language.clone(),
            duration: self.duration,
            segments: self.segments.iter().map(Segment::written).collect(),
        };
        Ok(format.write_with(&transcript, &style))
    }

    /// All of it as a dictionary, segments too, with the names that the JSON of the command has.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        dict.set_item("text", &self.text)?;
        dict.set_item("language", &self.language)?;
        dict.set_item("duration", self.duration)?;
        let segments = self.segments.iter().map(|segment| segment.to_dict(py));
        dict.set_item("segments", segments.collect::<PyResult<Vec<_>>>()?)?;
        Ok(dict)
    }

    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let rest = PyDict::new(py);
        rest.set_item("text", &self.text)?;
        rest.set_item("language", &self.language)?;
        rest.set_item("duration", self.duration)?;
        Ok((PyTuple::new(py, [self.segments.clone()])?, rest))
    }

    fn __repr__(&self) -> String {
        let text = shown(&self.text);
        format!("<crosslatch.Transcript of {:.2} s: {text}>", self.duration)
    }
}

/// What is known of a sound before its first segment is decoded.
#[pyclass(frozen, get_all, eq, module = "crosslatch", from_py_object)]
#[derive(Clone, PartialEq)]
pub struct TranscriptionInfo {
    /// The language spoken, as a code such as `en`; `None` if the model names none.
    language: Option<String>,
    /// How probable it is among those that the model knows; 1 if it was asked for or is the only
    /// one, `None` if there is no language.
    language_probability: Option<f32>,
    /// Length of the sound in seconds.
    duration: f64,
    /// Every language with its probability, most probable first.
    languages: Vec<(String, f32)>,
}

impl TranscriptionInfo {
    pub fn new(languages: &[SpokenLanguage], duration: f64) -> TranscriptionInfo {
        let first = languages.first();
        TranscriptionInfo {
            language: first.map(|language| language.code.clone()),
            language_probability: first.map(|language| language.probability),
            duration,
            languages: (languages.iter())
                .map(|language| (language.code.clone(), language.probability))
                .collect(),
        }
    }

    /// The language, as a code.
    pub fn language(&self) -> Option<&str> {
        self.language.as_deref()
    }
}

#[pymethods]
impl TranscriptionInfo {
    fn __repr__(&self) -> String {
        let language = match (&self.language, self.language_probability) {
            (Some(language), Some(probability)) => format!("{language} ({probability:.2})"),
            _ => "no language".to_owned(),
        };
        let duration = self.duration;
        format!("<crosslatch.TranscriptionInfo {language}, {duration:.2} s>")
    }
}
