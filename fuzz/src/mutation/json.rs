//! Mutations of JSON: of its tree if it can be parsed, and sometimes of its bytes.
//!
//! The parts of a document refer to each other by name, so strings and subtrees are mostly exchanged for
//! others of the same document; numbers are replaced by boundary values.

use serde_json::{Map, Number, Value};

use super::{Chance, bytes, float, integer, one_of};

/// Words that the readers of this project look for, and what stands in for a size or a number.
const WORDS: &[&str] = &[
    "",
    "x",
    "s0",
    "2*s0 + 1",
    "-s0",
    "s0//0",
    "Max(1, s0)",
    "Mul(Integer(2), Symbol('s0', integer=True))",
    "Pow(Symbol('s0', integer=True), Integer(8))",
    "NaN",
    "Infinity",
    "-Infinity",
    "../x",
    "torch.ops.aten.add.Tensor",
    "torch.ops.aten.view.default",
    "torch.ops.aten.copy_.default",
    "torch.ops.higher_order.cond",
    "_operator.mul",
];

/// Changes a document in one to four places.
pub fn mutate(chance: &mut Chance, input: &[u8], other: &[u8]) -> Vec<u8> {
    let Ok(mut tree) = serde_json::from_slice::<Value>(input) else {
        return bytes::mutate(chance, input, other);
    };
    if chance.u8(0..16) == 0 {
        return bytes::mutate(chance, input, other);
    }
    let donor = serde_json::from_slice::<Value>(other).unwrap_or(Value::Null);
    for _ in 0..chance.usize(1..=4) {
        change(chance, &mut tree, &donor);
    }
    tree.to_string().into_bytes()
}

/// Changes one node of a tree.
pub fn change(chance: &mut Chance, tree: &mut Value, donor: &Value) {
    let count = count(tree);
    let from = if chance.u8(0..4) == 0 { donor } else { &*tree };
    let piece = nth(from, chance.usize(0..self::count(from))).clone();
    let number = chance.usize(0..count);
    let node = nth_mut(tree, &mut { number });
    let Some(node) = node else { return };
    match node {
        Value::Number(_) if chance.u8(0..4) != 0 => *node = number_of(chance),
        Value::String(_) if piece.is_string() && chance.bool() => *node = piece,
        Value::String(text) if chance.bool() => match one_of(chance, WORDS) {
            Some(word) => *text = (*word).to_owned(),
            None => text.clear(),
        },
        Value::Array(list) => change_list(chance, list, piece),
        Value::Object(fields) => change_fields(chance, fields, piece),
        _ => match chance.u8(0..6) {
            0 => *node = Value::Null,
            1 => *node = Value::Bool(chance.bool()),
            2 => *node = number_of(chance),
            3 => *node = Value::Array(vec![std::mem::take(node)]),
            _ => *node = piece,
        },
    }
}

fn change_list(chance: &mut Chance, list: &mut Vec<Value>, piece: Value) {
    let at = chance.usize(0..list.len().max(1));
    match chance.u8(0..6) {
        0 if at < list.len() => {
            list.remove(at);
        }
        1 if at < list.len() => {
            let again = list[at].clone();
            list.insert(at, again);
        }
        2 if at < list.len() => {
            let with = chance.usize(0..list.len());
            list.swap(at, with);
        }
        3 if at < list.len() => list[at] = piece,
        4 => list.insert(at.min(list.len()), number_of(chance)),
        _ => list.insert(at.min(list.len()), piece),
    }
}

fn change_fields(chance: &mut Chance, fields: &mut Map<String, Value>, piece: Value) {
    let keys: Vec<String> = fields.keys().cloned().collect();
    let (Some(key), Some(another)) = (one_of(chance, &keys), one_of(chance, &keys)) else {
        fields.insert("x".to_owned(), piece);
        return;
    };
    match chance.u8(0..5) {
        0 => {
            fields.remove(key);
        }
        1 => {
            fields.insert(key.clone(), piece);
        }
        2 => {
            // The value of one key under the other.
            let value = fields[key].clone();
            fields.insert(another.clone(), value);
        }
        3 => {
            if let Some(value) = fields.remove(key) {
                let mut name = key.clone();
                name.push_str(["_", "s", "0", ""][chance.usize(0..4)]);
                fields.insert(name, value);
            }
        }
        _ => {
            if let Value::String(name) = piece {
                let value = fields[key].clone();
                fields.insert(name, value);
            }
        }
    }
}

fn number_of(chance: &mut Chance) -> Value {
    match chance.u8(0..5) {
        0 => {
            let text = float(chance).parse().unwrap_or(0.0);
            Number::from_f64(text).map_or(Value::Null, Value::Number)
        }
        1 => Value::from(u64::MAX - u64::from(chance.u8(0..3))),
        _ => Value::from(integer(chance)),
    }
}

fn children(tree: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match tree {
        Value::Array(list) => Box::new(list.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => Box::new(std::iter::empty()),
    }
}

fn count(tree: &Value) -> usize {
    1 + children(tree).map(count).sum::<usize>()
}

fn nth(tree: &Value, mut number: usize) -> &Value {
    if number == 0 {
        return tree;
    }
    number -= 1;
    for child in children(tree) {
        let size = count(child);
        if number < size {
            return nth(child, number);
        }
        number -= size;
    }
    tree
}

fn nth_mut<'t>(tree: &'t mut Value, number: &mut usize) -> Option<&'t mut Value> {
    if *number == 0 {
        return Some(tree);
    }
    *number -= 1;
    let children: Box<dyn Iterator<Item = &'t mut Value>> = match tree {
        Value::Array(list) => Box::new(list.iter_mut()),
        Value::Object(fields) => Box::new(fields.values_mut()),
        _ => return None,
    };
    for child in children {
        let size = count(child);
        if *number < size {
            return nth_mut(child, number);
        }
        *number -= size;
    }
    None
}
