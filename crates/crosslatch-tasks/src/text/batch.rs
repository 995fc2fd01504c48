//! Many texts, several at a time.
//!
//! A step of the decoder reads all weights and computes little with them, so texts are best decoded
//! side by side, each by a model of its own; how models share their steps is theirs to know. Each
//! thread takes the next text when it is done with one, and results come out in the order of the
//! texts. What is written for a text does not depend on how many are decoded at a time.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};

use super::{GenerateError, GenerateOptions, Generation, TextModel, TextPipeline};
use crate::config::OptionsError;

/// Pauses a model when dropped, also by a panic: other models must not wait for it.
struct PauseOnDrop<'m, M: TextModel>(&'m mut M);

impl<M: TextModel> Drop for PauseOnDrop<'_, M> {
    fn drop(&mut self) {
        self.0.pause();
    }
}

impl TextPipeline {
    /// Generates what a model makes of each text, as many at a time as there are models, each in a
    /// thread of its own. `observer` is given each text with its result, in order and as soon as it
    /// is there; if it breaks, no further text is begun. A text is taken when a model is free.
    ///
    /// # Errors
    /// Any [`OptionsError`]: the model cannot do what the options ask for, or there is no model.
    pub fn generate_all<M: TextModel + Send, T: AsRef<str> + Send>(
        &self,
        models: &mut [M],
        texts: impl Iterator<Item = T> + Send,
        options: &GenerateOptions,
        mut observer: impl FnMut(T, Result<Generation, GenerateError<M::Error>>) -> ControlFlow<()>,
    ) -> Result<(), OptionsError> {
        self.plan(options)?;
        if models.is_empty() {
            return Err(OptionsError::Option {
                name: "batch",
                cause: "needs at least one model to decode with",
            });
        }
        let texts = Mutex::new(texts.enumerate());
        let stopped = AtomicBool::new(false);
        let next = || match stopped.load(Ordering::Relaxed) {
            true => None,
            false => texts.lock().unwrap_or_else(PoisonError::into_inner).next(),
        };
        std::thread::scope(|scope| {
            let (sender, results) = channel();
            for model in models {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    let model = PauseOnDrop(model);
                    while let Some((index, text)) = next() {
                        let result = self.generate(&mut *model.0, text.as_ref(), options);
                        // The next text may take its time.
                        model.0.pause();
                        if sender.send((index, text, result)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let mut waiting = BTreeMap::new();
            let mut turn = 0;
            for (index, text, result) in results {
                waiting.insert(index, (text, result));
                while let Some((text, result)) = waiting.remove(&turn) {
                    turn += 1;
                    if observer(text, result).is_break() {
                        stopped.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            }
        });
        Ok(())
    }
}
