//! The report as lines for people.

use std::io::Write;

use serde_json::Value;

/// Prints the report of a speech model.
pub fn speech(out: &mut impl Write, report: &Value) -> std::io::Result<()> {
    let number = |v: &Value| v.as_f64().unwrap_or(f64::NAN);
    writeln!(
        out,
        "{:<9} {:>8} {:>9} {:>11} {:>20} {:>9} {:>9} {:>8}",
        "precision", "prepare", "encoder", "first step", "later step", "window", "floor", "× floor"
    )?;
    for row in report["rows"].as_array().into_iter().flatten() {
        let step = format!(
            "{:.2} ({:.2}–{:.2})",
            number(&row["later_step_ms"]),
            number(&row["later_step_quartiles_ms"][0]),
            number(&row["later_step_quartiles_ms"][1])
        );
        writeln!(
            out,
            "{:<9} {:>8.1} {:>9.1} {:>11.2} {step:>20} {:>9.1} {:>9.2} {:>8.2}",
            row["precision"].as_str().unwrap_or_default(),
            number(&row["prepare_ms"]),
            number(&row["encoder_ms"]),
            number(&row["first_step_ms"]),
            number(&row["window_ms"]),
            number(&row["floor_ms"]),
            number(&row["times_floor"]),
        )?;
    }
    for row in report["rows"].as_array().into_iter().flatten() {
        if let Some(times) = row["times_real_time"].as_f64() {
            writeln!(
                out,
                "{} takes {:.0} ms for {:.0} s of sound with {} tokens: {times:.1} × real time",
                row["precision"].as_str().unwrap_or_default(),
                number(&row["window_ms"]),
                number(&row["window_seconds"]),
                row["window_tokens"],
            )?;
        }
        writeln!(
            out,
            "{} reads {:.1} MB a step; memory gives {:.1} GB/s ({:.1}–{:.1})",
            row["precision"].as_str().unwrap_or_default(),
            number(&row["step_bytes"]) / 1e6,
            number(&row["bandwidth_bytes_per_s"]) / 1e9,
            number(&row["bandwidth_quartiles"][0]) / 1e9,
            number(&row["bandwidth_quartiles"][1]) / 1e9,
        )?;
        writeln!(
            out,
            "{} with {} windows together: {:.2} ms for their first steps, {:.2} a step ({:.2}–{:.2}), {:.2} × the steps per second",
            row["precision"].as_str().unwrap_or_default(),
            row["lanes_together"],
            number(&row["first_steps_together_ms"]),
            number(&row["step_together_ms"]),
            number(&row["step_together_quartiles_ms"][0]),
            number(&row["step_together_quartiles_ms"][1]),
            number(&row["steps_together_over_alone"]),
        )?;
        writeln!(
            out,
            "{} with {} beams of one window: {:.2} ms a step ({:.2}–{:.2})",
            row["precision"].as_str().unwrap_or_default(),
            row["beams"],
            number(&row["step_beams_ms"]),
            number(&row["step_beams_quartiles_ms"][0]),
            number(&row["step_beams_quartiles_ms"][1]),
        )?;
    }
    process(out, report)
}

/// Prints the report of any other model.
pub fn methods(out: &mut impl Write, report: &Value) -> std::io::Result<()> {
    let number = |v: &Value| v.as_f64().unwrap_or(f64::NAN);
    for row in report["rows"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "{} {}, inputs {}: {:.3} ms ({:.3}–{:.3})",
            row["method"].as_str().unwrap_or_default(),
            row["precision"].as_str().unwrap_or_default(),
            row["input_shapes"],
            number(&row["ms"]),
            number(&row["quartiles_ms"][0]),
            number(&row["quartiles_ms"][1]),
        )?;
    }
    process(out, report)
}

fn process(out: &mut impl Write, report: &Value) -> std::io::Result<()> {
    write!(
        out,
        "times in ms, {} threads; opened in {:.1}",
        report["threads"],
        report["open_ms"].as_f64().unwrap_or(f64::NAN)
    )?;
    match report["peak_memory_bytes"].as_u64() {
        Some(bytes) => writeln!(out, "; peak memory {:.0} MiB", bytes as f64 / 1_048_576.0),
        None => writeln!(out),
    }
}
