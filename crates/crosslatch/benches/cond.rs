//! The cost of a `cond` with both operators in a later step, compared with a program that reads its
//! caches unconditionally. There are twelve layers with caches as large as whisper-base's; each
//! step uses only one row of each cache, so that little else takes time. The difference is that of
//! all layers together. `inspect` shows that no bytes are copied.

use std::fmt::Write;

use criterion::{Criterion, criterion_group, criterion_main};
use crosslatch::ir::parse::parse;
use crosslatch::ops::Catalogue;
use crosslatch::{Bool, Input, Model, Options, Session, Tensor};

const LAYERS: usize = 12;
const CACHE: &str = "f32[1, 8, 1500, 64]";
const ROW: &str = "f32[1, 8, 1, 64]";

fn program(has_cond: bool) -> String {
    let mut text = format!("program model\ninput %first: bool[1]\ninput %new: {CACHE}\n");
    for layer in 0..LAYERS {
        let _ = writeln!(
            text,
            "state %keys{layer}: {CACHE}\nstate %values{layer}: {CACHE}"
        );
    }
    for layer in 0..LAYERS {
        let (mut keys, mut values) = (format!("keys{layer}"), format!("values{layer}"));
        if has_cond {
            let operands = format!("%c: {CACHE}, %d: {CACHE}, %n: {CACHE}");
            let _ = writeln!(
                text,
                "%k{layer}: {CACHE}, %v{layer}: {CACHE} = higher_order::cond(pred=%first, \
                 operands={{%{keys}, %{values}, %new}}) then({operands}) {{\n\
                 %p: {CACHE} = executorch::update_cross_attn_cache(value=%n, cache=%c)\n\
                 %q: {CACHE} = executorch::update_cross_attn_cache(value=%n, cache=%d)\n\
                 return %p, %q\n}} else({operands}) {{\n\
                 %p: {CACHE}, %q: {CACHE} = executorch::alias(x=%c, y=%d)\nreturn %p, %q\n}}"
            );
            (keys, values) = (format!("k{layer}"), format!("v{layer}"));
        }
        let _ = writeln!(
            text,
            "%a{layer}: {ROW} = aten::slice.Tensor(self=%{keys}, dim=2, start=0, end=1)\n\
             %b{layer}: {ROW} = aten::slice.Tensor(self=%{values}, dim=2, start=0, end=1)\n\
             %r{layer}: {ROW} = aten::add.Tensor(self=%a{layer}, other=%b{layer})"
        );
    }
    let results = (0..LAYERS).map(|layer| format!("\"r{layer}\"=%r{layer}"));
    let results: Vec<String> = results.collect();
    let _ = writeln!(text, "return {}", results.join(", "));
    text
}

fn bench(c: &mut Criterion) {
    for (name, has_cond) in [("without cond", false), ("with cond", true)] {
        let program = parse(&program(has_cond), Catalogue::builtin());
        let program = program.unwrap_or_else(|e| panic!("{e}"));
        let model = Model::in_memory(program, &[]).unwrap_or_else(|e| panic!("{e}"));
        let mut session = Session::new(&model, Options::default()).unwrap();
        let new = Tensor::from_slice(&[1, 8, 1500, 64], &vec![1f32; 8 * 1500 * 64]);
        let new = new.unwrap_or_else(|error| panic!("{error}"));
        let mut step = |first: bool| {
            let first = Tensor::from_slice(&[1], &[Bool::new(first)]);
            let first = first.unwrap_or_else(|error| panic!("{error}"));
            let inputs: [(&str, Input<'_>); 2] =
                [("first", first.view().into()), ("new", new.view().into())];
            session
                .run("model", &inputs)
                .unwrap_or_else(|e| panic!("{e}"));
        };
        step(true);
        c.bench_function(&format!("a step of {LAYERS} layers {name}"), |b| {
            b.iter(|| step(false));
        });
    }
}

criterion_group!(cond, bench);
criterion_main!(cond);
