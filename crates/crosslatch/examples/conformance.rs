//! Runs cases that the Python tests prepared, so that they can compare the results with PyTorch's.
//!
//! `conformance CASES RESULTS` reads `CASES/cases.json` and runs every case in its own session.
//! What needs no PyTorch is checked here: the planned run must equal the reference interpreter with
//! the same kernels bit for bit, and a second run in the same session must equal the first. The
//! outputs are written to `RESULTS/OPERATOR/tensors.safetensors`, as `CASE/out/INDEX` for the fast
//! kernels and `CASE/plain/INDEX` for the plain loops. Failures are written to
//! `RESULTS/failures.json`, where the message begins with `refused: ` if the engine refused the
//! program.

use std::collections::BTreeMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crosslatch::reference::ReferenceSession;
use crosslatch::{DType, Input, KernelSet, Model, Options, Session, Tensor, TensorRef};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    /// `OPERATOR/NAME`.
    case: String,
    program: String,
    tensors: String,
    inputs: Vec<String>,
    outputs: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [cases, results] = &args[..] else {
        return Err("usage: conformance CASES RESULTS".into());
    };
    // A panic is a failed case and is reported with the others.
    std::panic::set_hook(Box::new(|_| ()));
    run_all(Path::new(cases), Path::new(results))
}

fn run_all(folder: &Path, results: &Path) -> Result<(), Box<dyn Error>> {
    let cases: Cases = serde_json::from_slice(&std::fs::read(folder.join("cases.json"))?)?;
    let mut failures = BTreeMap::new();
    let mut ran = 0;
    for group in cases.cases.chunk_by(|a, b| a.tensors == b.tensors) {
        let tensors = read_tensors(&folder.join(&group[0].tensors))?;
        let mut outputs = BTreeMap::new();
        for case in group {
            let outcome = catch_unwind(AssertUnwindSafe(|| run(folder, case, &tensors)));
            match outcome.unwrap_or_else(|panic| Err(panic_text(&*panic).into())) {
                Ok(tensors) => outputs.extend(tensors),
                Err(error) => {
                    failures.insert(&case.case, error.to_string());
                }
            }
            ran += 1;
        }
        let path = results.join(&group[0].tensors);
        std::fs::create_dir_all(path.parent().unwrap_or(results))?;
        write_tensors(&path, &outputs)?;
    }
    std::fs::write(
        results.join("failures.json"),
        serde_json::to_vec_pretty(&failures)?,
    )?;
    println!("{} of {ran} cases ran", ran - failures.len());
    Ok(())
}

/// Runs one case in all ways, and returns its outputs by their names in the results.
fn run(
    folder: &Path,
    case: &Case,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<Vec<(String, Tensor)>, Box<dyn Error>> {
    let refused = |error: crosslatch::Error| format!("refused: {error}");
    let model = Model::open(folder.join(&case.program)).map_err(refused)?;
    let method = &model.methods()[0].program.name;
    let name = case.case.rsplit('/').next().unwrap_or(&case.case);
    let mut given: Vec<(&str, TensorRef<'_>)> = Vec::new();
    for input in &case.inputs {
        let tensor = tensors
            .get(&format!("{name}/in/{input}"))
            .ok_or_else(|| format!("{}: no tensor {name}/in/{input}", case.tensors))?;
        given.push((input, tensor.view()));
    }

    let mut session = Session::new(&model, Options::default())?;
    let inputs: Vec<_> = given.iter().map(|(n, t)| (*n, Input::Tensor(*t))).collect();
    let first = copies(session.run(method, &inputs).map_err(refused)?.iter());
    let second = copies(session.run(method, &inputs)?.iter());
    let reference = ReferenceSession::new(&model, KernelSet::Fast)?.run(method, &given)?;
    let reference = copies(reference.iter().map(|(n, t)| (n.as_str(), t.view())));
    let plain = ReferenceSession::new(&model, KernelSet::Plain)?.run(method, &given)?;
    if first.len() != case.outputs || plain.len() != case.outputs {
        return Err(format!("has {} outputs instead of {}", first.len(), case.outputs).into());
    }
    if !same(&first, &reference) {
        return Err("the planned run differs from the reference interpreter".into());
    }
    if !same(&first, &second) {
        return Err("a second run in the session differs from the first".into());
    }
    let named = |way: &str, tensors: Vec<Tensor>| {
        let named = |(i, tensor)| (format!("{name}/{way}/{i}"), tensor);
        tensors
            .into_iter()
            .enumerate()
            .map(named)
            .collect::<Vec<_>>()
    };
    let mut outputs = named("out", first);
    outputs.extend(named("plain", plain.into_iter().map(|(_, t)| t).collect()));
    Ok(outputs)
}

fn copies<'a>(outputs: impl Iterator<Item = (&'a str, TensorRef<'a>)>) -> Vec<Tensor> {
    outputs
        .map(|(_, tensor)| Tensor::copy_of(&tensor))
        .collect()
}

fn same(a: &[Tensor], b: &[Tensor]) -> bool {
    let equal = |(a, b): (&Tensor, &Tensor)| {
        a.dtype() == b.dtype() && a.shape() == b.shape() && content(a) == content(b)
    };
    a.len() == b.len() && a.iter().zip(b).all(equal)
}

/// The bytes of the elements, without any that the memory has after them.
fn content(tensor: &Tensor) -> &[u8] {
    let len = tensor.shape().iter().product::<usize>() * tensor.dtype().size();
    &tensor.bytes()[..len]
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("without a message"))
}

/// Names of element types in the safetensors format.
const TYPES: [(&str, DType); 10] = [
    ("BOOL", DType::Bool),
    ("U8", DType::U8),
    ("I8", DType::I8),
    ("I16", DType::I16),
    ("I32", DType::I32),
    ("I64", DType::I64),
    ("F16", DType::F16),
    ("BF16", DType::BF16),
    ("F32", DType::F32),
    ("F64", DType::F64),
];

/// Reads a safetensors file: the length of the header, the header as JSON, and the elements.
fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>, Box<dyn Error>> {
    let at = |what: &str| format!("{}: {what}", path.display());
    let file = std::fs::read(path).map_err(|e| at(&e.to_string()))?;
    let (len, rest) = file.split_first_chunk().ok_or_else(|| at("too short"))?;
    let len = usize::try_from(u64::from_le_bytes(*len))?;
    let (header, data) = rest.split_at_checked(len).ok_or_else(|| at("too short"))?;
    let header: BTreeMap<String, Value> = serde_json::from_slice(header)?;
    let mut tensors = BTreeMap::new();
    for (name, entry) in header {
        if name == "__metadata__" {
            continue;
        }
        let dtype = TYPES.iter().find(|(text, _)| entry["dtype"] == *text);
        let (_, dtype) = dtype.ok_or_else(|| at(&format!("type {}", entry["dtype"])))?;
        let shape: Vec<usize> = serde_json::from_value(entry["shape"].clone())?;
        let (from, to): (usize, usize) = serde_json::from_value(entry["data_offsets"].clone())?;
        let tensor = data
            .get(from..to)
            .and_then(|b| Tensor::from_bytes(*dtype, &shape, b).ok());
        tensors.insert(name, tensor.ok_or_else(|| at("a tensor does not fit"))?);
    }
    Ok(tensors)
}

fn write_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<(), Box<dyn Error>> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, tensor) in tensors {
        let dtype = TYPES.iter().find(|(_, dtype)| *dtype == tensor.dtype());
        let (dtype, _) = dtype.ok_or("an element type has no name")?;
        let from = data.len();
        data.extend_from_slice(content(tensor));
        let entry =
            json!({"dtype": dtype, "shape": tensor.shape(), "data_offsets": [from, data.len()]});
        header.insert(name.clone(), entry);
    }
    let header = serde_json::to_vec(&header)?;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(&header);
    file.extend_from_slice(&data);
    std::fs::write(path, file)?;
    Ok(())
}
