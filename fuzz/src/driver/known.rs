//! Findings that are known and not fixed yet, so that they do not hide new ones.

/// One per line: target, a part of the finding's text, the reason. A run counts them and does not fail
/// because of them.
const KNOWN: &str = include_str!("../../known.txt");

/// Why a finding is known, if it is.
pub fn reason(target: &str, finding: &str) -> Option<&'static str> {
    let lines = KNOWN.lines().filter(|line| !line.starts_with('#'));
    let mut entries = lines.filter_map(|line| {
        let mut fields = line.splitn(3, '|').map(str::trim);
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let known =
        entries.find(|(of, part, _)| (*of == target || *of == "*") && finding.contains(part));
    known.map(|(.., reason)| reason)
}
