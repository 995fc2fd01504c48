//! A Hugging Face folder with the weights of the bundled model is the bundled model, bit for bit.
//!
//! The bundled model was exported by PyTorch. Its weights, written as a checkpoint, give programs
//! that this crate builds: both must compute the same.

use std::collections::HashMap;
use std::path::Path;

use crosslatch::ir::graph::SlotKind;
use crosslatch::{Access, Input, Model, Options, Session, Tensor};
use crosslatch_checkpoints::{CheckpointError, is_checkpoint, open};
use half::{bf16, f16};
use safetensors::{Dtype, View};
use tempfile::TempDir;

const EXPORTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/model.pt2");

/// A tensor to be written.
#[derive(Clone)]
struct Contents {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Contents {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.bytes.as_slice().into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

type Weights = HashMap<String, Contents>;

/// The bytes of a number in some type.
type Encode = fn(f32) -> Vec<u8>;

/// The weights of the exported model, as transformers names them in a checkpoint.
fn weights(model: &Model) -> Weights {
    let mut weights = HashMap::new();
    for method in model.methods() {
        let slots = method.program.slots.iter().zip(&method.bindings);
        for (slot, weight) in slots.filter(|(slot, _)| slot.kind == SlotKind::Weight) {
            let weight = weight.as_ref().unwrap();
            assert!(weight.layout.is_contiguous());
            let start = weight.layout.offset * size_of::<f32>();
            let len = weight.layout.numel() * size_of::<f32>();
            let contents = Contents {
                dtype: Dtype::F32,
                shape: weight.layout.shape.to_vec(),
                bytes: model.weight_bytes(weight).unwrap()[start..start + len].to_vec(),
            };
            // The output projection is the token embedding; checkpoints have it once.
            if slot.name != "proj_out.weight" {
                weights.insert(format!("model.{}", slot.name), contents);
            }
        }
    }
    weights
}

fn folder(model: &Model) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "generation_config.json", "tokenizer.json"] {
        let contents = model.extra_file(name).unwrap();
        std::fs::write(folder.path().join(name), contents).unwrap();
    }
    folder
}

fn write(path: &Path, weights: Weights) {
    safetensors::serialize_to_file(weights, None, path).unwrap();
}

/// What both methods return over two inputs and several steps of one and of several tokens.
fn outputs(model: &Model) -> Vec<Vec<f32>> {
    let mut session = Session::new(model, Options::default()).unwrap();
    let mut all = Vec::new();
    for input in 0..2u64 {
        session.reset();
        let number = |i: u64| ((i * 7919 + input * 104_729) % 1000) as f32 / 500.0 - 1.0;
        let features: Vec<f32> = (0..80 * 600).map(number).collect();
        let features = Tensor::from_slice(&[1, 80, 600], &features).unwrap();
        let encoded = session.run("encoder", &[("input_features", features.view().into())]);
        let (name, encoded) = {
            let encoded = encoded.unwrap();
            let (name, tensor) = encoded.iter().next().unwrap();
            (name.to_owned(), tensor.to_vec::<f32>())
        };
        all.push(encoded);
        let mut position = 0;
        for tokens in [&[3i64, 50, 7][..], &[12], &[900], &[4, 4]] {
            let positions: Vec<i64> = (position..position + tokens.len() as i64).collect();
            position += tokens.len() as i64;
            let ids = Tensor::from_slice(&[1, tokens.len()], tokens).unwrap();
            let positions = Tensor::from_slice(&[tokens.len()], &positions).unwrap();
            let encoded = Input::Output {
                method: "encoder",
                name: &name,
            };
            let inputs = [
                ("input_ids", ids.view().into()),
                ("cache_position", positions.view().into()),
                ("encoder_hidden_states", encoded),
            ];
            let outputs = session.run("decoder", &inputs).unwrap();
            all.push(outputs.iter().next().unwrap().1.to_vec());
        }
    }
    all
}

#[test]
fn a_checkpoint_computes_what_the_exported_model_computes() {
    let exported = Model::open(EXPORTED).unwrap();
    let expected = outputs(&exported);
    let whole = folder(&exported);
    assert!(!is_checkpoint(whole.path()));
    write(&whole.path().join("model.safetensors"), weights(&exported));
    assert!(is_checkpoint(whole.path()));
    for access in [Access::Map, Access::Copy] {
        let model = open(whole.path(), access).unwrap();
        assert!(outputs(&model) == expected);
        for name in ["config.json", "tokenizer.json"] {
            assert_eq!(model.extra_file(name), exported.extra_file(name));
        }
    }
}

#[test]
fn later_steps_copy_no_bytes_of_a_cache() {
    let exported = Model::open(EXPORTED).unwrap();
    let whole = folder(&exported);
    write(&whole.path().join("model.safetensors"), weights(&exported));
    let model = open(whole.path(), Access::Map).unwrap();
    let mut session = Session::new(&model, Options::default()).unwrap();
    let program = &model.methods()[model.method_index("decoder").unwrap()].program;
    let types = crosslatch::inputs::types_for(program, |symbol| symbol.min).unwrap();
    let plan = session.plan("decoder", &types).unwrap();
    let copies = plan.copies.iter().filter(|copy| !copy.store);
    assert_eq!(copies.count(), 0);
}

#[test]
fn shards_are_one_checkpoint() {
    let exported = Model::open(EXPORTED).unwrap();
    let sharded = folder(&exported);
    let (encoder, decoder): (Weights, Weights) = weights(&exported)
        .into_iter()
        .partition(|(name, _)| name.contains("encoder."));
    let mut map = serde_json::Map::new();
    for (file, weights) in [("a.safetensors", encoder), ("b.safetensors", decoder)] {
        let names = weights.keys().map(|name| (name.clone(), file.into()));
        map.extend(names);
        write(&sharded.path().join(file), weights);
    }
    let index = serde_json::json!({ "weight_map": map }).to_string();
    std::fs::write(sharded.path().join("model.safetensors.index.json"), index).unwrap();
    let model = open(sharded.path(), Access::Map).unwrap();
    assert!(outputs(&model) == outputs(&exported));
}

/// Bytes of the weights of the linear layers and of the table of tokens.
fn matrices_in_memory(model: &Model) -> usize {
    let mut bytes = 0;
    for method in model.methods() {
        let slots = method.program.slots.iter().zip(&method.bindings);
        let weights = slots.filter_map(|(slot, weight)| Some((&slot.name, weight.as_ref()?)));
        for (name, weight) in weights.filter(|(_, weight)| weight.layout.rank() == 2) {
            if !name.contains("positions") && name.ends_with("weight") {
                bytes += weight.layout.numel() * weight.stored.size();
            }
        }
    }
    assert!(bytes > 1 << 20);
    bytes
}

#[test]
fn weights_of_sixteen_bits_are_those_numbers_in_f32() {
    let exported = Model::open(EXPORTED).unwrap();
    let convert = |weights: &Weights, dtype: Dtype, to: Encode| -> Weights {
        let convert = |contents: &Contents| Contents {
            dtype,
            shape: contents.shape.clone(),
            bytes: (contents.bytes.as_chunks().0.iter())
                .flat_map(|bytes| to(f32::from_le_bytes(*bytes)))
                .collect(),
        };
        weights
            .iter()
            .map(|(n, c)| (n.clone(), convert(c)))
            .collect()
    };
    let kinds: [(Dtype, Encode, Encode); 2] = [
        (
            Dtype::F16,
            |x| f16::from_f32(x).to_le_bytes().to_vec(),
            |x| f16::from_f32(x).to_f32().to_le_bytes().to_vec(),
        ),
        (
            Dtype::BF16,
            |x| bf16::from_f32(x).to_le_bytes().to_vec(),
            |x| bf16::from_f32(x).to_f32().to_le_bytes().to_vec(),
        ),
    ];
    let weights = weights(&exported);
    for (dtype, short, rounded) in kinds {
        let [of_16, of_32] = [(dtype, short), (Dtype::F32, rounded)].map(|(dtype, to)| {
            let folder = folder(&exported);
            let file = folder.path().join("model.safetensors");
            write(&file, convert(&weights, dtype, to));
            let model = open(folder.path(), Access::Map).unwrap();
            (outputs(&model), matrices_in_memory(&model))
        });
        assert!(of_16.0 == of_32.0, "{dtype:?}");
        // They are not widened before they are read.
        assert_eq!(of_16.1 * 2, of_32.1, "{dtype:?}");
    }
}

#[test]
fn what_is_wrong_with_a_checkpoint_is_said() {
    let exported = Model::open(EXPORTED).unwrap();
    let error = |change: &dyn Fn(&Path, &mut Weights)| -> String {
        let folder = folder(&exported);
        let mut weights = weights(&exported);
        let file = folder.path().join("model.safetensors");
        write(&file, weights.clone());
        change(folder.path(), &mut weights);
        if !weights.is_empty() {
            write(&file, weights);
        }
        match open(folder.path(), Access::Map) {
            Ok(_) => "opened".to_owned(),
            Err(error @ (CheckpointError::File { .. } | CheckpointError::Io { .. })) => {
                error.to_string()
            }
            Err(error) => panic!("{error}"),
        }
    };
    let gone = "model.decoder.layer_norm.bias";
    let missing = error(&|_, weights| {
        weights.remove(gone);
    });
    assert!(
        missing.contains("there is no tensor `decoder.layer_norm.bias`"),
        "{missing}"
    );
    let shape = error(&|_, weights| {
        let contents = weights.get_mut(gone).unwrap();
        contents.shape = vec![2, 80];
    });
    assert!(
        shape.contains("has the shape [2, 80]; expected [160]"),
        "{shape}"
    );
    let config = |from: &'static str, to: &'static str| {
        move |folder: &Path, weights: &mut Weights| {
            let file = folder.join("config.json");
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.contains(from), "{text}");
            std::fs::write(&file, text.replace(from, to)).unwrap();
            weights.clear();
        }
    };
    let family = error(&config(
        "\"model_type\": \"whisper\"",
        "\"model_type\": \"llama\"",
    ));
    assert!(family.contains("crosslatch-export"), "{family}");
    let heads = error(&config(
        "\"decoder_attention_heads\": 5",
        "\"decoder_attention_heads\": 7",
    ));
    assert!(heads.contains("7 decoder heads cannot share"), "{heads}");
    let large = error(&config(
        "\"vocab_size\": 955",
        "\"vocab_size\": 99999999999",
    ));
    assert!(large.contains("`vocab_size` is 99999999999"), "{large}");
    let caches = error(&config(
        "\"max_source_positions\": 300",
        "\"max_source_positions\": 16000000",
    ));
    assert!(
        caches.contains("far more memory than the weights"),
        "{caches}"
    );
    let header = error(&|folder, weights| {
        std::fs::write(folder.join("model.safetensors"), [255; 64]).unwrap();
        weights.clear();
    });
    assert!(header.contains("model.safetensors"), "{header}");
    let outside = error(&|folder, weights| {
        std::fs::remove_file(folder.join("model.safetensors")).unwrap();
        let index = folder.join("model.safetensors.index.json");
        std::fs::write(index, r#"{"weight_map": {"x": "../../etc/passwd"}}"#).unwrap();
        weights.clear();
    });
    assert!(outside.contains("is not a file of the folder"), "{outside}");
}
