//! The facts as lines for people.

use std::io::Write;

use serde_json::Value;

/// Prints the facts.
pub fn print(out: &mut impl Write, description: &Value) -> std::io::Result<()> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    let number = |v: &Value| v.as_u64().unwrap_or(0);
    for method in list(&description["methods"]) {
        writeln!(out, "method {}", text(&method["name"]))?;
        for input in list(&method["inputs"]) {
            writeln!(
                out,
                "  input   {:<28} {}",
                text(&input["name"]),
                text(&input["type"])
            )?;
        }
        for kind in ["latched", "carried", "state"] {
            for slot in list(&method[kind]) {
                let [name, ty] = [&slot["name"], &slot["type"]].map(text);
                writeln!(out, "  {kind:<7} {name:<28} {ty}")?;
            }
        }
        for left in list(&method["not_latched"]) {
            let [name, reason] = [&left["name"], &left["reason"]].map(text);
            writeln!(out, "  at each run: %{name}: {reason}")?;
        }
        let weights = &method["weights"];
        write!(out, "  weights {}", bytes(number(&weights["bytes"])))?;
        match number(&weights["narrow"]["count"]) {
            0 => writeln!(out)?,
            count => writeln!(
                out,
                ": {} in {count} matrices of {}, {} as typed",
                bytes(number(&weights["narrow"]["bytes"])),
                text(&description["precision"]),
                bytes(number(&weights["as_typed"]["bytes"]))
            )?,
        }
        let plan = &method["plan"];
        if plan.is_null() {
            writeln!(out, "  plan    depends on sizes that are not bounded")?;
            continue;
        }
        let avoided = list(&plan["copies_avoided"]);
        writeln!(out, "  plan    for inputs {}", plan["input_shapes"])?;
        for (name, work) in [
            ("each run", "each_run"),
            ("once per input", "once_per_input"),
        ] {
            writeln!(
                out,
                "    {name:<18} {}, {}",
                flops(number(&plan[work]["flops"])),
                bytes(number(&plan[work]["bytes"]))
            )?;
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
        let avoided_bytes = avoided.iter().map(|c| number(&c["bytes"])).sum();
        writeln!(
            out,
            "    copies avoided     {} ({})",
            avoided.len(),
            bytes(avoided_bytes)
        )?;
        for value in list(&plan["values_in_state"]) {
            writeln!(
                out,
                "    %{}: in {} ({})",
                text(&value["value"]),
                text(&value["memory"]),
                text(&value["made_by"])
            )?;
        }
        for copy in list(&plan["copies"]) {
            let what = match copy["store"].as_bool() {
                Some(true) => "stored",
                _ => "copied",
            };
            writeln!(
                out,
                "    {what:<18} {} {}: {}",
                text(&copy["value"]),
                bytes(number(&copy["bytes"])),
                text(&copy["reason"])
            )?;
        }
    }
    if list(&description["methods"]).len() > 1 {
        let all = bytes(number(&description["weight_bytes"]));
        writeln!(out, "weights of all methods together: {all}")?;
    }
    for file in list(&description["extra_files"]) {
        writeln!(out, "file {}", text(&file))?;
    }
    Ok(())
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
