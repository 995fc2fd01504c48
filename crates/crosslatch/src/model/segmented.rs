//! The model as sessions run it: a method that makes numbers of contents becomes several.
//!
//! The last segment of a method has its name and its place, so that whoever looks for the method finds it;
//! the others are behind all methods of the model.

use super::method::Segments;
use super::{Method, Model};
use crate::passes::part::Part;
use crate::passes::segments::{Refusal, segments};

impl Model {
    /// This model with its methods in [segments](crate::passes::segments).
    pub(crate) fn segmented(&self) -> Model {
        let segmented = self.0.segmented.get_or_init(|| {
            let mut methods = self.methods().to_vec();
            let mut is_changed = false;
            for index in 0..self.methods().len() {
                is_changed |= cut(&mut methods, index);
            }
            is_changed.then(|| Model::new(self.0.file.clone(), methods))
        });
        segmented.as_ref().unwrap_or(self).clone()
    }
}

/// Cuts the method at this index, or notes why it cannot be cut. Returns whether there was anything to cut.
fn cut(methods: &mut Vec<Method>, index: usize) -> bool {
    let whole = methods[index].clone();
    let parts = match segments(&whole.program) {
        Ok(None) => return false,
        Ok(Some(parts)) => parts_of(&whole, parts),
        Err(refusal) => Err(refusal),
    };
    let parts = match parts {
        Ok(parts) => parts,
        Err(refusal) => {
            methods[index].uncut = Some(refusal);
            return true;
        }
    };
    let (first, last) = (methods.len(), parts.len() - 1);
    for (i, part) in parts.into_iter().enumerate() {
        let part = Method {
            latch: whole.latch.clone(),
            alignment: whole.alignment.clone(),
            segments: Some(Segments {
                before: (first..first + i).collect(),
                last: index,
            }),
            ..part
        };
        match i == last {
            true => methods[index] = part,
            false => methods.push(part),
        }
    }
    true
}

fn parts_of(whole: &Method, parts: Vec<Part>) -> Result<Vec<Method>, Refusal> {
    let refusal = |reason: String| Refusal {
        node: "segments".to_owned(),
        reason,
    };
    if whole.carry.is_some() {
        return Err(refusal(
            "a number is made of a tensor's contents in a method that carries values from run to run, \
             which is not supported"
                .to_owned(),
        ));
    }
    let parts = parts.into_iter().map(|part| whole.part(part));
    let parts: Result<_, _> = parts.collect();
    parts.map_err(|e| refusal(e.to_string()))
}
