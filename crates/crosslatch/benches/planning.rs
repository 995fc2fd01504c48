//! The time to make a model of a program and to plan it, by the number of nodes, for programs of
//! several shapes: `cargo bench -p crosslatch --bench planning [-- NODES]`. A time that doubles
//! with the number of nodes is linear; one that quadruples is quadratic.

use std::time::Instant;

use crosslatch::ir::build::ProgramBuilder;
use crosslatch::ir::{Arg, Catalogue, Program};
use crosslatch::{DType, Model, Options, Session};

const SHAPE: [usize; 4] = [1, 2, 8, 4];

/// A program of this shape with about `nodes` nodes.
type Make = fn(usize) -> Program;

const SHAPES: [(&str, Make); 8] = [
    ("each reads the one before", chain),
    ("all are read at the end", late),
    ("in place, one after the other", in_place),
    ("a view of a view", views),
    ("functional updates of a cache", functional),
    ("updates of many caches", caches),
    ("a cond for each layer", conds),
    ("many outputs", outputs),
];

fn main() {
    let most = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let most: usize = most.unwrap_or(20_000);
    println!(
        "{:32} {:>8} {:>10} {:>10}",
        "shape", "nodes", "model ms", "plan ms"
    );
    for (name, make) in SHAPES {
        for nodes in [most / 4, most / 2, most] {
            let program = make(nodes);
            let start = Instant::now();
            let model = Model::in_memory(program, &[]).expect("built");
            let made = start.elapsed().as_secs_f64() * 1e3;
            let mut session = Session::new(&model, Options::default()).expect("small");
            let types = crosslatch::inputs::types_for(&model.methods()[0].program, |s| s.min);
            let start = Instant::now();
            session
                .plan("model", &types.expect("fixed"))
                .expect("planned");
            let planned = start.elapsed().as_secs_f64() * 1e3;
            println!("{name:32} {nodes:>8} {made:>10.0} {planned:>10.0}");
        }
    }
}

fn chain(nodes: usize) -> Program {
    let mut program = ProgramBuilder::new("model", Catalogue::builtin());
    let mut x = program.input("x", DType::F32, &SHAPE);
    for _ in 0..nodes {
        x = program
            .graph
            .call("aten::neg", &[("self", x.into())])
            .unwrap();
    }
    program.output("y", x);
    program.finish().unwrap()
}

fn late(nodes: usize) -> Program {
    let mut program = ProgramBuilder::new("model", Catalogue::builtin());
    let x = program.input("x", DType::F32, &SHAPE);
    let made: Vec<_> = (0..nodes / 2)
        .map(|_| {
            program
                .graph
                .call("aten::neg", &[("self", x.into())])
                .unwrap()
        })
        .collect();
    let mut sum = x;
    for value in made {
        let args = [("self", sum.into()), ("other", value.into())];
        sum = program.graph.call("aten::add.Tensor", &args).unwrap();
    }
    program.output("y", sum);
    program.finish().unwrap()
}

fn in_place(nodes: usize) -> Program {
    let mut program = ProgramBuilder::new("model", Catalogue::builtin());
    let mut x = program.state("x", DType::F32, &SHAPE);
    for _ in 0..nodes {
        x = program
            .graph
            .call("aten::relu_", &[("self", x.into())])
            .unwrap();
    }
    program.output("y", x);
    program.finish().unwrap()
}

fn views(nodes: usize) -> Program {
    let mut program = ProgramBuilder::new("model", Catalogue::builtin());
    let mut x = program.state("x", DType::F32, &SHAPE);
    for _ in 0..nodes {
        let args = [("self", x.into()), ("dim0", 1.into()), ("dim1", 2.into())];
        x = program.graph.call("aten::transpose.int", &args).unwrap();
    }
    program
        .graph
        .call("aten::relu_", &[("self", x.into())])
        .unwrap();
    program.output("y", x);
    program.finish().unwrap()
}

fn functional(nodes: usize) -> Program {
    let mut program = ProgramBuilder::new("model", Catalogue::builtin());
    let cache = program.state("cache", DType::F32, &SHAPE);
    let x = program.input("x", DType::F32, &[1, 2, 1, 4]);
    let at = program.input("at", DType::I64, &[1]);
    let mut new = cache;
    for _ in 0..nodes {
        let args = [
            ("self", new.into()),
            ("dim", 2.into()),
            ("index", at.into()),
            ("source", x.into()),
        ];
        new = program.graph.call("aten::index_copy", &args).unwrap();
    }
    program.store(cache, new).unwrap();
    program.output("y", new);
    program.finish().unwrap()
}

fn caches(nodes: usize) -> Program {
    let mut program = ProgramBuilder::new("model", Catalogue::builtin());
    let states: Vec<_> = (0..nodes / 4)
        .map(|i| program.state(&format!("cache{i}"), DType::F32, &SHAPE))
        .collect();
    let mut x = program.input("x", DType::F32, &[1, 2, 1, 4]);
    let at = program.input("at", DType::I64, &[1]);
    for cache in states {
        let k = program
            .graph
            .call("aten::neg", &[("self", x.into())])
            .unwrap();
        let args = [
            ("self", cache.into()),
            ("dim", 2.into()),
            ("index", at.into()),
            ("source", k.into()),
        ];
        let new = program.graph.call("aten::index_copy", &args).unwrap();
        program.store(cache, new).unwrap();
        let args = [
            ("self", new.into()),
            ("dim", Arg::from(&[2i64][..])),
            ("keepdim", true.into()),
        ];
        let sum = program.graph.call("aten::sum.dim_IntList", &args).unwrap();
        x = program
            .graph
            .call(
                "aten::add.Tensor",
                &[("self", sum.into()), ("other", x.into())],
            )
            .unwrap();
    }
    program.output("y", x);
    program.finish().unwrap()
}

fn conds(nodes: usize) -> Program {
    let mut program = ProgramBuilder::new("model", Catalogue::builtin());
    let states: Vec<_> = (0..nodes / 5)
        .map(|i| program.state(&format!("cache{i}"), DType::F32, &SHAPE))
        .collect();
    let mut x = program.input("x", DType::F32, &SHAPE);
    let p = program.input("p", DType::Bool, &[1]);
    for cache in states {
        let results = program.graph.cond(
            p,
            &[cache, x],
            |graph, inputs| {
                let clone = graph.call("aten::clone", &[("self", inputs[0].into())])?;
                Ok(vec![clone])
            },
            |graph, inputs| {
                let made = graph.call("aten::neg", &[("self", inputs[1].into())])?;
                Ok(vec![graph.call("aten::clone", &[("self", made.into())])?])
            },
        );
        let k = results.unwrap()[0];
        program.store(cache, k).unwrap();
        let args = [("self", k.into()), ("other", x.into())];
        x = program.graph.call("aten::add.Tensor", &args).unwrap();
    }
    program.output("y", x);
    program.finish().unwrap()
}

fn outputs(nodes: usize) -> Program {
    let mut program = ProgramBuilder::new("model", Catalogue::builtin());
    let x = program.input("x", DType::F32, &SHAPE);
    for i in 0..nodes {
        let y = program
            .graph
            .call("aten::neg", &[("self", x.into())])
            .unwrap();
        program.output(&format!("y{i}"), y);
    }
    program.finish().unwrap()
}
