//! Which layer of the model a step belongs to.
//!
//! A file says which module each node comes from, but only where a module was called. What stands
//! between the calls (a reshape, a residual sum, attention that is written as a function) has the path
//! of the module around it, which is often the whole program, or no path at all. Since the steps are in
//! the order in which they run, such a step is counted to the innermost module that contains both the
//! step before it and the step after it; between two items of a list, such as two decoder layers, to
//! the first of the two.

/// Completes the paths of steps, which are in the order in which they run. A step keeps its own path if
/// that says more.
pub fn complete(modules: &[Option<&str>]) -> Vec<String> {
    let known: Vec<Vec<&str>> = modules
        .iter()
        .map(|m| components(m.unwrap_or("")))
        .collect();
    let mut before: &[&str] = &[];
    let mut layers = Vec::with_capacity(known.len());
    for (i, own) in known.iter().enumerate() {
        let after = known[i + 1..].iter().find(|path| path.len() > own.len());
        let around = match after {
            Some(after) => holder(before, after),
            None => &[],
        };
        let is_inside = around.len() > own.len() && around.starts_with(own);
        let layer = if is_inside { around } else { own.as_slice() };
        layers.push(layer.join("."));
        if !layer.is_empty() {
            before = layer;
        }
    }
    layers
}

/// The parts of a path. A module that is called twice counts as one module.
fn components(path: &str) -> Vec<&str> {
    let path = path.split('@').next().unwrap_or(path);
    path.split('.').filter(|part| !part.is_empty()).collect()
}

/// The innermost module that contains both; for two items of a list, the first of the two.
fn holder<'p>(before: &'p [&'p str], after: &[&str]) -> &'p [&'p str] {
    let shared = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let is_item = |path: &[&str]| path.get(shared).is_some_and(|p| p.parse::<u32>().is_ok());
    match is_item(before) && is_item(after) {
        true => &before[..=shared],
        false => &before[..shared],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_between_calls_belong_to_the_module_around_them() {
        let given_and_wanted = [
            (None, ""),
            (Some("decoder.embed"), "decoder.embed"),
            (Some(""), "decoder"),
            (Some("decoder.layers.0.attn.q"), "decoder.layers.0.attn.q"),
            (Some(""), "decoder.layers.0.attn"),
            (
                Some("decoder.layers.0.attn.out@1"),
                "decoder.layers.0.attn.out",
            ),
            (None, "decoder.layers.0"),
            (Some("decoder.layers.0.fc"), "decoder.layers.0.fc"),
            (Some("decoder"), "decoder.layers.0"),
            (Some("decoder"), "decoder.layers.0"),
            (Some("decoder.layers.1.attn.q"), "decoder.layers.1.attn.q"),
            (Some("decoder.norm"), "decoder.norm"),
            (Some(""), ""),
        ];
        let given: Vec<Option<&str>> = given_and_wanted.iter().map(|(given, _)| *given).collect();
        let wanted: Vec<&str> = given_and_wanted.iter().map(|(_, wanted)| *wanted).collect();
        assert_eq!(complete(&given), wanted);
    }
}
