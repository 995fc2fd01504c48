//! Rules that cannot be followed.
//!
//! A machine that reads a text from left to right follows a rule into those that it calls. A rule that calls
//! itself before anything is read, with something left to do behind the call, would be followed without end:
//! `sum ::= sum "+" number`. So there must be no circle of calls at the beginnings of sequences in which a
//! call has something behind it. (One without anything behind, as in `("a"?)*`, does no harm.) And a rule
//! all of whose sequences call rules like itself has no end: `list ::= item list`.

use super::parse::{Definition, Element, Mistake, Rules};

/// Refuses rules that cannot be followed.
pub(super) fn check(rules: &Rules) -> Result<(), Mistake> {
    let rules = &rules.rules;
    let ends = fixed_point(rules, |_| true);
    if let Some(rule) = (0..rules.len()).find(|&rule| !ends[rule]) {
        let name = &rules[rule].name;
        let cause = format!("the rule `{name}` has no end; give it a sequence without itself");
        let place = rules[rule].place;
        return Err(Mistake { place, cause });
    }
    let empty = fixed_point(rules, |element| matches!(element, Element::Call(_)));
    let calls: Vec<Vec<(usize, bool)>> =
        rules.iter().map(|rule| first_calls(rule, &empty)).collect();
    let circle = circles(&calls);
    for (rule, calls) in calls.iter().enumerate() {
        if calls
            .iter()
            .any(|&(called, is_last)| !is_last && circle[rule] == circle[called])
        {
            let name = &rules[rule].name;
            let cause = format!(
                "the rule `{name}` calls itself before it has read anything; write `a ::= b (\"+\" b)*` \
                 in place of `a ::= a \"+\" b | b`"
            );
            let place = rules[rule].place;
            return Err(Mistake { place, cause });
        }
    }
    Ok(())
}

fn sequences(rule: &Definition) -> &[Vec<Element>] {
    rule.sequences.as_deref().unwrap_or_default()
}

/// The rules that have a sequence of which each element holds, where a call holds if its rule is one of them.
fn fixed_point(rules: &[Definition], holds: impl Fn(Element) -> bool) -> Vec<bool> {
    let mut found = vec![false; rules.len()];
    // Who calls a rule, so that each is looked at again only if something has changed.
    let mut callers = vec![Vec::new(); rules.len()];
    for (caller, rule) in rules.iter().enumerate() {
        for element in sequences(rule).iter().flatten() {
            if let Element::Call(called) = *element {
                callers[called].push(caller);
            }
        }
    }
    let mut waiting: Vec<usize> = (0..rules.len()).collect();
    while let Some(rule) = waiting.pop() {
        let is_met = |element: &Element| match *element {
            Element::Call(called) => found[called],
            byte => holds(byte),
        };
        if !found[rule] && sequences(&rules[rule]).iter().any(|s| s.iter().all(is_met)) {
            found[rule] = true;
            waiting.extend(&callers[rule]);
        }
    }
    found
}

/// The rules that are called before anything is read; of each, whether nothing is behind the call.
fn first_calls(rule: &Definition, empty: &[bool]) -> Vec<(usize, bool)> {
    let mut calls = Vec::new();
    for sequence in sequences(rule) {
        for (i, element) in sequence.iter().enumerate() {
            let Element::Call(called) = *element else {
                break;
            };
            calls.push((called, i + 1 == sequence.len()));
            if !empty[called] {
                break;
            }
        }
    }
    calls
}

/// For each node of a graph the number of its strongly connected component (Kosaraju's algorithm).
fn circles(edges: &[Vec<(usize, bool)>]) -> Vec<usize> {
    let mut order = Vec::with_capacity(edges.len());
    let mut seen = vec![false; edges.len()];
    for start in 0..edges.len() {
        let mut path = vec![(start, 0)];
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        while let Some((node, next)) = path.last_mut() {
            match edges[*node].get(*next) {
                Some(&(to, _)) => {
                    *next += 1;
                    if !std::mem::replace(&mut seen[to], true) {
                        path.push((to, 0));
                    }
                }
                None => {
                    order.push(*node);
                    path.pop();
                }
            }
        }
    }
    let mut back = vec![Vec::new(); edges.len()];
    for (from, edges) in edges.iter().enumerate() {
        for &(to, _) in edges {
            back[to].push(from);
        }
    }
    let mut component = vec![usize::MAX; edges.len()];
    for &start in order.iter().rev() {
        let mut waiting = vec![start];
        while let Some(node) = waiting.pop() {
            if component[node] == usize::MAX {
                component[node] = start;
                waiting.extend(&back[node]);
            }
        }
    }
    component
}
