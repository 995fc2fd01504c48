//! Tests of the runner: it can fail, and blessing writes what it should and nothing else.

use std::path::Path;

use libtest_mimic::{Failed, Trial};

use super::file::Mode;
use super::runs::same;
use super::{PASSES, check, check_text, files, name};
use crosslatch::{DType, Tensor};

/// The tests; some of them read all files below `root`.
pub fn trials(root: &Path) -> Vec<Trial> {
    type Test = fn(&Path) -> Result<(), String>;
    let tests: [(&str, Test); 7] = [
        ("every_pass_has_its_files", every_pass_has_its_files),
        (
            "blessing_an_unchanged_tree_changes_nothing",
            blessing_an_unchanged_tree_changes_nothing,
        ),
        (
            "blessing_writes_all_expectations_again",
            blessing_writes_all_expectations_again,
        ),
        (
            "a_wrong_expectation_is_shown_beside_the_decision",
            a_wrong_expectation_is_shown_beside_the_decision,
        ),
        (
            "what_no_pass_knows_is_an_error_and_is_not_blessed",
            what_no_pass_knows_is_an_error_and_is_not_blessed,
        ),
        (
            "a_decision_that_could_be_about_two_lines_is_an_error",
            a_decision_that_could_be_about_two_lines_is_an_error,
        ),
        (
            "outputs_that_differ_in_one_bit_are_not_the_same",
            outputs_that_differ_in_one_bit_are_not_the_same,
        ),
    ];
    let trial = |(name, test): (&str, Test)| {
        let root = root.to_owned();
        Trial::test(format!("runner/{name}"), move || {
            test(&root).map_err(Failed::from)
        })
    };
    tests.into_iter().map(trial).collect()
}

fn require(is_so: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(what()) }
}

fn every_pass_has_its_files(root: &Path) -> Result<(), String> {
    for pass in PASSES {
        let count = files(&root.join(pass.name)).len();
        require(count >= pass.least, || {
            format!("{} has only {count} files", pass.name)
        })?;
    }
    Ok(())
}

/// Copies each file, changed by `change`, and calls `then` with its name, new path and old text.
fn in_a_copy(
    root: &Path,
    change: fn(&str) -> String,
    then: fn(&str, &Path, &str) -> Result<(), String>,
) -> Result<(), String> {
    let copy = tempfile::tempdir().map_err(|e| e.to_string())?;
    for path in files(root) {
        let text = std::fs::read_to_string(&path).map_err(|e| e.to_string())?;
        let to = copy.path().join(path.strip_prefix(root).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).map_err(|e| e.to_string())?;
        std::fs::write(&to, change(&text)).map_err(|e| e.to_string())?;
        let name = name(root, &path);
        then(&name, &to, &text).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

fn blessing_an_unchanged_tree_changes_nothing(root: &Path) -> Result<(), String> {
    in_a_copy(root, str::to_owned, |_, path, before| {
        let written = || std::fs::metadata(path).and_then(|m| m.modified()).unwrap();
        let then = written();
        check(path, Mode::Bless)?;
        require(written() == then, || "the file was written".into())?;
        let after = std::fs::read_to_string(path).unwrap();
        require(after == before, || format!("became\n{after}"))
    })
}

/// Removes all expectations, except that those about the memory of a value name a wrong one.
fn without_expectations(text: &str) -> String {
    let line = |line: &str| match line.trim_start().strip_prefix("#> ") {
        Some(pin) if pin.starts_with('%') => {
            let name = pin.split(' ').next().unwrap();
            let indent = &line[..line.len() - line.trim_start().len()];
            Some(format!("{indent}#> {name} in no memory\n"))
        }
        Some(_) => None,
        None => Some(format!("{line}\n")),
    };
    text.lines().filter_map(line).collect()
}

fn blessing_writes_all_expectations_again(root: &Path) -> Result<(), String> {
    in_a_copy(root, without_expectations, |_, path, before| {
        let changed = std::fs::read_to_string(path).unwrap();
        require(changed != before, || "the file expects nothing".into())?;
        let failure = check(path, Mode::Compare).err().unwrap_or_default();
        let is_shown = failure.contains("    + | #> ") && failure.contains("CROSSLATCH_BLESS=1");
        require(is_shown, || format!("not shown: {failure}"))?;
        check(path, Mode::Bless)?;
        let after = std::fs::read_to_string(path).unwrap();
        require(after == before, || format!("became\n{after}"))?;
        check(path, Mode::Compare)
    })
}

const PROGRAM: &str = "#! test: plan
# A comment.
program model
input %x: f32[2, 3]
state %s: f32[2, 3]
%v: f32[6] = aten::view(self=%s, size=[6])
#> %v in state @s
%c: f32[2, 3] = aten::clone(self=%s)
#> copy: nobody knows why
%w: f32[2, 3] = aten::add_.Tensor(self=%s, other=%x)
#> copy: an in-place operator stores its result; one of the two is read where the other is written (step 1)
return \"c\"=%c, \"w\"=%w
";

fn failure(folder: &str, text: &str) -> String {
    // There is no such folder, so blessing would fail in another way if it wrote anything.
    let path = Path::new("no/such/folder").join(folder).join("file.ir");
    let [compared, blessed] =
        [Mode::Compare, Mode::Bless].map(|mode| check_text(&path, text, mode));
    let compared = compared.err().unwrap_or_default();
    match blessed.err() {
        // Blessing tried to write.
        Some(blessed) if blessed == compared => blessed,
        other => format!("{compared} / blessed: {other:?}"),
    }
}

fn a_wrong_expectation_is_shown_beside_the_decision(_: &Path) -> Result<(), String> {
    let shown = failure("plan", PROGRAM);
    let wanted = "    8 | %c: f32[2, 3] = aten::clone(self=%s)
    - | #> copy: nobody knows why
    + | #> copy: the program asks for a copy; one of the two is written while the other is still wanted (step 2)
";
    require(shown.contains(wanted), || shown.clone())?;
    // Lines whose expectations are met are not shown.
    require(
        !shown.contains("aten::add_") && !shown.contains("%v"),
        || shown,
    )
}

fn what_no_pass_knows_is_an_error_and_is_not_blessed(_: &Path) -> Result<(), String> {
    let replaced = |from: &str, to: &str| PROGRAM.replacen(from, to, 1);
    for (folder, text, wanted) in [
        (
            "plan",
            replaced("#! test: plan\n", ""),
            "no header names the pass",
        ),
        (
            "plan",
            replaced("test: plan", "test: plans"),
            "unknown pass `plans`",
        ),
        (
            "plan",
            replaced("test: plan", "text: plan"),
            "no header names the pass",
        ),
        ("latch", PROGRAM.to_owned(), "belongs in the folder `plan`"),
        ("other", PROGRAM.to_owned(), "belongs in the folder `plan`"),
        (
            "plan",
            replaced("plan\n", "plan\n#! inputs: x\n"),
            "the pass `plan` has no header `inputs`",
        ),
        (
            "plan",
            replaced("plan\n", "plan\n#! test: plan\n"),
            "line 2: the header `test` is there twice",
        ),
        (
            "plan",
            replaced("program model\n", "program model\n#! test: plan\n"),
            "line 4: `#!` begins a header",
        ),
        (
            "plan",
            replaced("copy: no", "copies: no"),
            "`copies: nobody knows why` is not an",
        ),
        (
            "plan",
            replaced("copy: no", "kept %c: no"),
            "is not an expectation of the pass",
        ),
        (
            "plan",
            replaced("# A comment.\n", "# A comment.\n#> no copies\n"),
            "line 3: an expectation stands directly below",
        ),
        (
            "plan",
            replaced("%v in", "%u in"),
            "`%u` is not made by the line above it",
        ),
        (
            "plan",
            replaced(" = aten::clone", "\n = aten::clone"),
            "on a line of its own",
        ),
        ("plan", replaced("aten::clone", "aten::klone"), "line 8: "),
        (
            "latch",
            replaced("test: plan", "test: latch"),
            "is not an expectation of the pass",
        ),
    ] {
        let shown = failure(folder, &text);
        let is_right = shown.contains(wanted) && !shown.contains("blessed");
        require(is_right, || format!("`{wanted}` is not in `{shown}`"))?;
    }
    Ok(())
}

fn a_decision_that_could_be_about_two_lines_is_an_error(_: &Path) -> Result<(), String> {
    let branch = "(%s: f32[2], %x: f32[2]) {
  %a: f32[2] = aten::add_.Tensor(self=%s, other=%x)
  return %a
}";
    let text = format!(
        "#! test: plan
program model
input %x: f32[2]
input %p: bool[1]
state %s: f32[2]
%k: f32[2] = higher_order::cond(pred=%p, operands={{%s, %x}}) then{branch} else{branch}
return \"k\"=%k
"
    );
    let shown = failure("plan", &text);
    require(shown.contains("several lines could be it"), || shown)
}

fn outputs_that_differ_in_one_bit_are_not_the_same(_: &Path) -> Result<(), String> {
    let tensor = |last: f32| Tensor::from_slice(&[2], &[1.0, last]).unwrap();
    let outputs = |name: &str, tensor: Tensor| vec![(name.to_owned(), tensor)];
    let wanted = outputs("y", tensor(2.0));
    same(&wanted, &outputs("y", tensor(2.0)))?;
    let bytes = tensor(2.0).bytes().to_vec();
    for other in [
        outputs("z", tensor(2.0)),
        outputs("y", tensor(f32::from_bits(2.0f32.to_bits() + 1))),
        outputs("y", Tensor::from_slice(&[1, 2], &[1.0f32, 2.0]).unwrap()),
        outputs("y", Tensor::from_bytes(DType::I32, &[2], &bytes).unwrap()),
        vec![],
    ] {
        require(same(&wanted, &other).is_err(), || {
            format!("{other:?} is taken for the same")
        })?;
    }
    Ok(())
}
