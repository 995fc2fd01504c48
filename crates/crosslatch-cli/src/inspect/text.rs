//! The facts as lines for people: first what the model is, then each method.

use std::io::Write;

use serde_json::Value;

use super::names;

/// Prints the facts.
pub fn print(out: &mut impl Write, facts: &Value) -> std::io::Result<()> {
    about(out, facts)?;
    for method in list(&facts["methods"]) {
        writeln!(out, "\nmethod {}", text(&method["name"]))?;
        ends(out, method)?;
        weights(out, &method["weights"])?;
        match &method["plan"] {
            Value::Null => writeln!(out, "  plan    depends on sizes that are not bounded")?,
            plan => self::plan(out, plan)?,
        }
    }
    Ok(())
}

/// What the model is: family, size, vocabulary, languages, files.
fn about(out: &mut impl Write, facts: &Value) -> std::io::Result<()> {
    let about = &facts["about"];
    let name = about["family"].as_str().unwrap_or("model");
    let architecture = about["architecture"].as_str();
    let architecture = architecture.map_or(String::new(), |name| format!(" ({name})"));
    let parameters = parameters(number(&about["parameters"]));
    writeln!(out, "{name}{architecture}, {parameters} parameters")?;
    let layers = match [&about["encoder_layers"], &about["decoder_layers"]].map(Value::as_u64) {
        [Some(encoder), Some(decoder)] => {
            Some(format!("{encoder} encoder and {decoder} decoder layers"))
        }
        _ => None,
    };
    let width = about["width"].as_u64().map(|n| format!("width {n}"));
    let vocabulary = about["vocabulary"]
        .as_u64()
        .map(|n| format!("{} tokens", thousands(n)));
    let languages = about["languages"].as_array().map(|codes| match &codes[..] {
        [only] => format!("language {}", text(only)),
        codes => format!("{} languages", codes.len()),
    });
    let known: Vec<String> = [layers, width, vocabulary, languages]
        .into_iter()
        .flatten()
        .collect();
    if !known.is_empty() {
        writeln!(out, "  {}", known.join(", "))?;
    }
    let precision = text(&facts["precision"]);
    let in_file = bytes(number(&facts["weight_bytes"]));
    writeln!(
        out,
        "  weights {in_file} in the file, computed in {precision}"
    )?;
    let files: Vec<&str> = list(&facts["extra_files"]).iter().map(text).collect();
    if !files.is_empty() {
        writeln!(out, "  files   {}", files.join(", "))?;
    }
    Ok(())
}

/// Inputs and the slots that keep something between runs.
fn ends(out: &mut impl Write, method: &Value) -> std::io::Result<()> {
    for input in list(&method["inputs"]) {
        let [name, ty] = [&input["name"], &input["type"]].map(text);
        writeln!(out, "  input   {name:<40} {ty}")?;
    }
    for group in list(&method["state_groups"]) {
        let [name, ty] = [&group["name"], &group["type"]].map(text);
        let many = times(number(&group["count"]) as usize);
        writeln!(out, "  state   {name:<40} {ty}{many}")?;
    }
    for kind in ["latched", "carried"] {
        for slot in list(&method[kind]) {
            let [name, ty] = [&slot["name"], &slot["type"]].map(text);
            writeln!(out, "  {kind:<7} {name:<40} {ty}")?;
        }
    }
    for left in list(&method["not_latched"]) {
        let [name, reason] = [&left["name"], &left["reason"]].map(text);
        writeln!(out, "  at each run: %{name}: {reason}")?;
    }
    Ok(())
}

fn weights(out: &mut impl Write, weights: &Value) -> std::io::Result<()> {
    write!(out, "  weights {}", bytes(number(&weights["bytes"])))?;
    let types: Vec<&str> = list(&weights["narrow"]["types"]).iter().map(text).collect();
    match number(&weights["narrow"]["count"]) {
        0 => writeln!(out),
        count => writeln!(
            out,
            ": {} in {count} matrices of {}, {} as typed",
            bytes(number(&weights["narrow"]["bytes"])),
            types.join(" and "),
            bytes(number(&weights["as_typed"]["bytes"]))
        ),
    }
}

/// What a run of the smallest inputs costs, what lies in state, and what is copied.
fn plan(out: &mut impl Write, plan: &Value) -> std::io::Result<()> {
    writeln!(out, "  plan    for inputs {}", plan["input_shapes"])?;
    for (name, work) in [
        ("each run", "each_run"),
        ("once per input", "once_per_input"),
    ] {
        let [operations, moved] = ["flops", "bytes"].map(|kind| number(&plan[work][kind]));
        if operations + moved > 0 {
            writeln!(
                out,
                "    {name:<18} {}, {}",
                flops(operations),
                bytes(moved)
            )?;
        }
    }
    writeln!(
        out,
        "    working memory     {}",
        bytes(number(&plan["arena_bytes"]))
    )?;
    writeln!(
        out,
        "    cache bytes copied {}",
        number(&plan["cache_bytes_copied"])
    )?;
    let avoided = list(&plan["copies_avoided"]);
    let avoided_bytes = avoided.iter().map(|copy| number(&copy["bytes"])).sum();
    writeln!(
        out,
        "    copies avoided     {} ({})",
        avoided.len(),
        bytes(avoided_bytes)
    )?;
    for (made_by, values) in by(list(&plan["values_in_state"]), |v| {
        text(&v["made_by"]).to_owned()
    }) {
        let memory: Vec<&str> = values.iter().map(|value| text(&value["memory"])).collect();
        for (name, count) in names::fold(&memory) {
            writeln!(out, "    in {name}{}: {made_by}", times(count))?;
        }
    }
    let kind = |copy: &Value| (copy["store"] == true, text(&copy["reason"]).to_owned());
    for ((store, reason), copies) in by(list(&plan["copies"]), kind) {
        let what = if store { "stored" } else { "copied" };
        let together = bytes(copies.iter().map(|copy| number(&copy["bytes"])).sum());
        let values: Vec<&str> = copies.iter().map(|copy| text(&copy["value"])).collect();
        writeln!(
            out,
            "    {what:<18} {together}: {}: {reason}",
            values.join(", ")
        )?;
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Items with the same key together, in the order of the first of each.
fn by<K: PartialEq>(items: &[Value], key: impl Fn(&Value) -> K) -> Vec<(K, Vec<&Value>)> {
    let mut groups: Vec<(K, Vec<&Value>)> = Vec::new();
    for item in items {
        let key = key(item);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups
}

fn times(count: usize) -> String {
    match count {
        1 => String::new(),
        n => format!(" × {n}"),
    }
}

/// A number of parameters as people write it.
fn parameters(n: u64) -> String {
    match n {
        0..1_000_000 => thousands(n),
        1_000_000..1_000_000_000 => format!("{:.1} million", n as f64 / 1e6),
        _ => format!("{:.2} billion", n as f64 / 1e9),
    }
}

/// A number with its thousands apart: `51,864`.
fn thousands(n: u64) -> String {
    match n {
        0..1000 => n.to_string(),
        _ => format!("{},{:03}", thousands(n / 1000), n % 1000),
    }
}

/// A number of operations as people write it.
fn flops(n: u64) -> String {
    match n {
        0..1000 => format!("{n} FLOP"),
        1000..1_000_000 => format!("{:.1} kFLOP", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MFLOP", n as f64 / 1e6),
        _ => format!("{:.1} GFLOP", n as f64 / 1e9),
    }
}

/// A number of bytes as people write it.
fn bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        _ => format!("{:.1} MiB", n as f64 / 1_048_576.0),
    }
}
