//! A session: one input being worked on, with state of its own.
//!
//! The runs of one session follow each other, since each finds what the one before left behind. Two
//! threads that ran one session at the same time would mix two inputs, and no order of their runs
//! would be right; so the second is refused and not made to wait. Sessions of one program have only
//! weights in common, which nobody writes, so they run side by side.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, TryLockError};

use crosslatch::ir::graph::ValueType;
use crosslatch::{DType, Input, Model, Options};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping};

use crate::error::{engine, failure};
use crate::inputs::{Given, Refusal, take};
use crate::methods;
use crate::outputs::{array, arrays};
use crate::process::Local;

/// One input being worked on: the state of every method, isolated from all other sessions.
///
/// A session is used by one thread at a time; a second thread gets an error.
#[pyclass(frozen, module = "crosslatch")]
pub struct Session {
    /// The Python object that the session was made from.
    program: Py<PyAny>,
    model: Model,
    /// The model's file, for messages.
    path: PathBuf,
    session: Mutex<Local<crosslatch::Session>>,
}

impl Session {
    /// A fresh session of a program, which has this model.
    pub fn new(
        program: &Bound<'_, PyAny>,
        model: &Model,
        options: Options,
        path: &Path,
    ) -> PyResult<Session> {
        // The first session in a precision other than f32 converts the weights.
        let session = (program.py()).detach(|| crosslatch::Session::new(model, options));
        Ok(Session {
            program: program.clone().unbind(),
            model: model.clone(),
            path: path.to_owned(),
            session: Mutex::new(Local::new(session.map_err(engine)?)),
        })
    }

    fn lock(&self) -> PyResult<MutexGuard<'_, Local<crosslatch::Session>>> {
        self.session.try_lock().map_err(|e| {
            failure(match e {
                TryLockError::WouldBlock => {
                    "another thread is using this session; a session works on one input, so give \
                     each thread its own, with `program.session()`"
                }
                TryLockError::Poisoned(_) => {
                    "a run of this session ended in a defect of the engine; make a new one"
                }
            })
        })
    }
}

#[pymethods]
impl Session {
    /// The program that the session runs.
    #[getter]
    fn program(&self, py: Python<'_>) -> Py<PyAny> {
        self.program.clone_ref(py)
    }

    /// Runs a method and returns its outputs by name, as NumPy arrays of their own memory.
    ///
    /// Inputs are given by name: NumPy arrays, PyTorch tensors, anything with `__dlpack__`, Python
    /// numbers and lists of them, or an `Output` of this session. Arrays are read where they lie
    /// and must not be written before `run` returns. `outputs` names those to return; all if it is
    /// `None`. State is then what the run made of it.
    #[pyo3(signature = (method, inputs, *, outputs = None))]
    fn run<'py>(
        slf: &Bound<'py, Self>,
        method: &str,
        inputs: &Bound<'py, PyMapping>,
        outputs: Option<Vec<String>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (py, this) = (slf.py(), slf.get());
        for name in outputs.iter().flatten() {
            methods::check_output(&this.model, method, name)?;
        }
        let named = sources(slf, methods::program(&this.model, method)?, inputs)?;
        let inputs: Vec<(&str, Input<'_>)> = named
            .iter()
            .map(|(name, source)| (name.as_str(), source.input()))
            .collect();
        let mut guard = this.lock()?;
        let session = guard.get_mut()?;
        py.detach(|| session.run(method, &inputs).map(|_| ()))
            .map_err(engine)?;
        arrays(
            py,
            &session.outputs(method).map_err(engine)?,
            outputs.as_deref(),
        )
    }

    /// What a method returns, to be an input of another method of this session. Nothing is copied.
    ///
    /// It stands for the output of the method's latest run, at the time when it is used.
    fn output(slf: &Bound<'_, Self>, method: String, name: String) -> PyResult<Output> {
        methods::check_output(&slf.get().model, &method, &name)?;
        Ok(Output {
            session: slf.clone().unbind(),
            method,
            name,
        })
    }

    /// A session that goes on from where this one is, by itself.
    ///
    /// What has been computed so far is shared: of the state, each of the two copies what it
    /// writes, when it writes it. Both share their threads, so give sessions that are to run at the
    /// same time threads of their own, with `program.session()`.
    fn fork(&self, py: Python<'_>) -> PyResult<Session> {
        let fork = self.lock()?.get_mut()?.fork().map_err(engine)?;
        Ok(Session {
            program: self.program.clone_ref(py),
            model: self.model.clone(),
            path: self.path.clone(),
            session: Mutex::new(Local::new(fork)),
        })
    }

    /// Puts all state back to the start, as in a fresh session.
    fn reset(&self) -> PyResult<()> {
        self.lock()?.get_mut()?.reset();
        Ok(())
    }

    /// Seeds the generators of random numbers, as `torch.manual_seed` does: a method then draws the numbers that
    /// PyTorch draws when it runs the same program.
    fn seed(&self, seed: u64) -> PyResult<()> {
        self.lock()?.get_mut()?.seed(seed);
        Ok(())
    }

    fn __repr__(&self) -> String {
        format!("<crosslatch.Session of {}>", self.path.display())
    }
}

/// Where an input comes from.
enum Source {
    Tensor(Given),
    Output { method: String, name: String },
}

fn sources<'py>(
    session: &Bound<'py, Session>,
    program: &crosslatch::ir::Program,
    inputs: &Bound<'py, PyMapping>,
) -> PyResult<Vec<(String, Source)>> {
    let mut given: Vec<(String, Bound<'py, PyAny>)> = Vec::new();
    for pair in inputs.items()?.iter() {
        given.push(pair.extract()?);
    }
    // Names are checked before anything is converted, because converting needs the input's type.
    let names: Vec<(&str, ())> = given.iter().map(|(name, _)| (name.as_str(), ())).collect();
    crosslatch::inputs::order(program, &names).map_err(engine)?;
    let source = |(name, value): (String, Bound<'py, PyAny>)| {
        let source = Source::of(session, program, &name, &value)?;
        Ok((name, source))
    };
    given.into_iter().map(source).collect()
}

impl Source {
    fn of<'py>(
        session: &Bound<'py, Session>,
        program: &crosslatch::ir::Program,
        name: &str,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Source> {
        let fail = |reason: &str| {
            failure(crosslatch::Error::Input {
                method: program.name.clone(),
                reason: format!("input `{name}` {reason}"),
            })
        };
        if let Ok(output) = value.cast::<Output>() {
            let output = output.get();
            if !output.session.is(session) {
                return Err(fail(
                    "is an output of another session; take it out with `.numpy()`",
                ));
            }
            return Ok(Source::Output {
                method: output.method.clone(),
                name: output.name.clone(),
            });
        }
        match take(value, declared(program, name)) {
            Ok(given) => Ok(Source::Tensor(given)),
            Err(Refusal::Reason(reason)) => Err(fail(&reason)),
            Err(Refusal::Raised(error)) => {
                let raised = fail(&format!("cannot be read: {}", error.value(value.py())));
                raised.set_cause(value.py(), Some(error));
                Err(raised)
            }
        }
    }

    fn input(&self) -> Input<'_> {
        match self {
            Source::Tensor(given) => Input::Tensor(given.view()),
            Source::Output { method, name } => Input::Output { method, name },
        }
    }
}

/// The element type of an input.
fn declared(program: &crosslatch::ir::Program, name: &str) -> Option<DType> {
    let (slot, _) = crosslatch::inputs::input_slots(program).find(|(_, n)| *n == name)?;
    match &program.graph.value(program.graph.inputs[slot]).ty {
        ValueType::Tensor(ty) => Some(ty.dtype),
        _ => None,
    }
}

/// An output where it lies in its session.
#[pyclass(frozen, module = "crosslatch")]
pub struct Output {
    session: Py<Session>,
    #[pyo3(get)]
    method: String,
    #[pyo3(get)]
    name: String,
}

#[pymethods]
impl Output {
    /// A copy as a NumPy array.
    fn numpy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut guard = self.session.get().lock()?;
        let outputs = guard.get_mut()?.outputs(&self.method).map_err(engine)?;
        let tensor = outputs.get(&self.name).map_err(engine)?;
        array(py, &tensor)
    }

    fn __repr__(&self) -> String {
        format!("<crosslatch.Output `{}` of `{}`>", self.name, self.method)
    }
}
