//! The JSON of a serialised program, as Rust types.
//!
//! The names are those of `torch/_export/serde/schema.py` (schema version 8), as far as the engine
//! reads them. Unions are objects with one key, which serde's externally tagged enums match. Kinds
//! that the engine does not use are read as `Other`, so a file may contain them as long as nothing
//! needs them.

// The fields are PyTorch's; its schema.py documents them.
#![allow(missing_docs)]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The major version that is understood; it changes when old readers break.
pub const MAJOR_VERSION: i64 = 8;

/// A program.
#[derive(Debug, Deserialize)]
pub struct ExportedProgram {
    pub graph_module: GraphModule,
    #[serde(default)]
    pub range_constraints: BTreeMap<String, RangeConstraint>,
    pub schema_version: SchemaVersion,
}

/// The version alone, which is read first: the rest may differ in another version.
#[derive(Debug, Deserialize)]
pub struct Versioned {
    pub schema_version: SchemaVersion,
    #[serde(default)]
    pub torch_version: String,
}

#[derive(Debug, Deserialize)]
pub struct SchemaVersion {
    pub major: i64,
    pub minor: i64,
}

#[derive(Debug, Deserialize)]
pub struct RangeConstraint {
    pub min_val: Option<i64>,
    pub max_val: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub struct GraphModule {
    pub graph: Graph,
    pub signature: Signature,
    #[serde(default)]
    pub module_call_graph: Vec<ModuleCall>,
}

/// Structure of the arguments and results of a module; the first entry is that of the whole program.
#[derive(Debug, Deserialize)]
pub struct ModuleCall {
    pub signature: Option<ModuleSignature>,
}

#[derive(Debug, Deserialize)]
pub struct ModuleSignature {
    /// A tree of names and positions, as JSON in a string.
    #[serde(default)]
    pub out_spec: String,
}

#[derive(Debug, Deserialize)]
pub struct Signature {
    pub input_specs: Vec<InputSpec>,
    pub output_specs: Vec<OutputSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputSpec {
    UserInput {
        arg: Argument,
    },
    Parameter {
        arg: Named,
        parameter_name: String,
    },
    Buffer {
        arg: Named,
        buffer_name: String,
        #[serde(default = "yes")]
        persistent: bool,
    },
    TensorConstant {
        arg: Named,
        tensor_constant_name: String,
    },
    ConstantInput {
        name: String,
        #[serde(rename = "value")]
        _value: IgnoredAny,
    },
    CustomObj(IgnoredAny),
    Token(IgnoredAny),
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputSpec {
    UserOutput { arg: Argument },
    BufferMutation { arg: Named, buffer_name: String },
    ParameterMutation { arg: Named, parameter_name: String },
    UserInputMutation { arg: Named, user_input_name: String },
    LossOutput { arg: Named },
    GradientToParameter(IgnoredAny),
    GradientToUserInput(IgnoredAny),
    Token(IgnoredAny),
}

#[derive(Debug, Deserialize)]
pub struct Graph {
    pub inputs: Vec<Argument>,
    pub outputs: Vec<Argument>,
    pub nodes: Vec<Node>,
    pub tensor_values: BTreeMap<String, TensorMeta>,
    #[serde(default)]
    pub sym_int_values: BTreeMap<String, IgnoredAny>,
    #[serde(default)]
    pub sym_bool_values: BTreeMap<String, IgnoredAny>,
    #[serde(default)]
    pub sym_float_values: BTreeMap<String, IgnoredAny>,
}

#[derive(Debug, Deserialize)]
pub struct Node {
    pub target: String,
    pub inputs: Vec<NamedArgument>,
    pub outputs: Vec<Argument>,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct NamedArgument {
    pub name: String,
    pub arg: Argument,
}

#[derive(Debug, Deserialize)]
pub struct Named {
    pub name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Argument {
    AsNone(IgnoredAny),
    AsTensor(Named),
    AsTensors(Vec<Named>),
    AsInt(i64),
    AsInts(Vec<i64>),
    AsFloat(Float),
    AsFloats(Vec<Float>),
    AsString(String),
    AsSymInt(SymArgument),
    AsSymInts(Vec<SymArgument>),
    AsScalarType(i64),
    AsMemoryFormat(IgnoredAny),
    AsLayout(IgnoredAny),
    AsDevice(IgnoredAny),
    AsBool(bool),
    AsBools(Vec<bool>),
    AsSymBool(SymArgument),
    AsSymFloat(SymArgument),
    AsGraph {
        #[serde(default)]
        name: String,
        graph: Graph,
    },
    AsOptionalTensor(OptionalTensor),
    AsOptionalTensors(Vec<OptionalTensor>),
    #[serde(untagged)]
    Other(BTreeMap<String, IgnoredAny>),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptionalTensor {
    AsTensor(Named),
    AsNone(IgnoredAny),
}

/// A symbolic number: a value of the graph, or a constant.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SymArgument {
    AsName(String),
    AsInt(i64),
    AsFloat(Float),
    AsBool(bool),
}

/// A float; JSON has no infinities, so the file writes them as text.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "FloatText")]
pub struct Float(pub f64);

#[derive(Deserialize)]
#[serde(untagged)]
enum FloatText {
    Number(f64),
    Text(String),
}

impl TryFrom<FloatText> for Float {
    type Error = String;

    fn try_from(value: FloatText) -> Result<Float, String> {
        match value {
            FloatText::Number(x) => Ok(Float(x)),
            FloatText::Text(text) => match text.as_str() {
                "Infinity" => Ok(Float(f64::INFINITY)),
                "-Infinity" => Ok(Float(f64::NEG_INFINITY)),
                "NaN" => Ok(Float(f64::NAN)),
                _ => Err(format!("`{text}` is not a number")),
            },
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct TensorMeta {
    pub dtype: i64,
    pub sizes: Vec<SymInt>,
    pub strides: Vec<SymInt>,
    pub storage_offset: SymInt,
    #[serde(default = "strided")]
    pub layout: i64,
}

/// The number of `torch.strided` in files.
pub const STRIDED: i64 = 7;

fn strided() -> i64 {
    STRIDED
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SymInt {
    AsInt(i64),
    AsExpr { expr_str: String },
}

/// `…_weights_config.json` and `…_constants_config.json`.
#[derive(Debug, Deserialize)]
pub struct PayloadConfig {
    pub config: BTreeMap<String, PayloadMeta>,
}

#[derive(Debug, Deserialize)]
pub struct PayloadMeta {
    pub path_name: String,
    #[serde(default)]
    pub use_pickle: bool,
    pub tensor_meta: Option<TensorMeta>,
}

#[cfg(test)]
mod tests {
    use super::Float;

    #[test]
    fn a_float_in_its_shortest_form_is_read_as_that_float() {
        // The least `f32`, with which masks are filled; its neighbour is no `f32` at all.
        let read = |text: &str| serde_json::from_str::<Float>(text).unwrap().0;
        assert_eq!(read("-3.4028234663852886e+38"), f64::from(f32::MIN));
        assert_eq!(read("0.30000000000000004"), 0.1 + 0.2);
    }
}
