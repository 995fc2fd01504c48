//! Which bytes may follow those that were read.
//!
//! While a text is read, several ways through the grammar are open at once. Each is a place in the program
//! and a stack of places to return to. Ways that are at the same place are joined, and their stacks become
//! one with several tops, so there are never more ways than places, however ambiguous a grammar is (a
//! graph-structured stack, as in Tomita's parser).
//!
//! The ways that are open after some bytes are a state. States, and where a byte leads from each, are
//! remembered when they are first needed: for a text that repeats the same few phrases the machine soon is a
//! table. When the memory of states is full, it is emptied, and texts are read again from their beginning.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::program::{Instruction, Place, Program};

/// A state of the machine.
pub(super) type State = u32;
/// The state in which no way is open.
pub(super) const DEAD: State = 0;
/// How much work may be remembered, in ways that were followed, before it is forgotten.
const MOST_REMEMBERED: usize = 1 << 20;
/// How much work may be done between two tokens. What is not followed any more is not allowed: the text still
/// obeys the grammar, but may be another.
const MOST_WORK: usize = 1 << 22;
/// A step that has not been taken yet.
const UNKNOWN: State = State::MAX;

type Stack = u32;
/// The stack with nothing on it.
const BOTTOM: Stack = 0;

/// What is on top of a stack: places to return to, each with the stack below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Tops {
    is_bottom: bool,
    tops: Vec<(Place, Stack)>,
}

/// The ways that are open.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Ways {
    /// Places at which a byte is read.
    ways: Vec<(Place, Stack)>,
    /// Whether the text may end.
    may_end: bool,
}

/// The states of a program that were needed so far.
#[derive(Debug)]
pub(super) struct Machine {
    stacks: Vec<Tops>,
    stack_numbers: HashMap<Tops, Stack>,
    states: Vec<Ways>,
    state_numbers: HashMap<Ways, State>,
    /// Where each class of bytes leads from each state.
    steps: Vec<State>,
    /// The ways that were followed for them, and the places in them.
    remembered: usize,
    start: State,
}

impl Machine {
    pub fn new(program: &Program) -> Self {
        let mut machine = Machine {
            stacks: Vec::new(),
            stack_numbers: HashMap::new(),
            states: Vec::new(),
            state_numbers: HashMap::new(),
            steps: Vec::new(),
            remembered: 0,
            start: DEAD,
        };
        let bottom = Tops {
            is_bottom: true,
            tops: Vec::new(),
        };
        machine.stack(bottom);
        let dead = Ways {
            ways: Vec::new(),
            may_end: false,
        };
        machine.state(program, dead);
        let starts = program
            .starts
            .iter()
            .map(|&place| (place, BOTTOM))
            .collect();
        machine.start = machine.opened(program, starts);
        machine
    }

    /// Whether so much is remembered that another machine should take its place.
    pub fn is_full(&self) -> bool {
        self.remembered > MOST_REMEMBERED
    }

    /// The state before the first byte.
    pub fn start(&self) -> State {
        self.start
    }

    /// Whether a text may end in a state.
    pub fn may_end(&self, state: State) -> bool {
        self.states[state as usize].may_end
    }

    /// The state after one more byte.
    pub fn step(&mut self, program: &Program, state: State, byte: u8) -> State {
        let class = program.class_of[usize::from(byte)];
        let place = state as usize * program.classes.len() + usize::from(class);
        let known = self.steps[place];
        if known != UNKNOWN {
            return known;
        }
        if self.remembered > MOST_WORK {
            return DEAD;
        }
        let byte = program.classes[usize::from(class)];
        let takes = |place: Place| match program.at(place) {
            Instruction::Byte(first, last) => (first..=last).contains(&byte),
            _ => false,
        };
        let ways = self.states[state as usize].ways.iter();
        let taken = ways.filter(|&&(place, _)| takes(place));
        let taken = taken.map(|&(place, stack)| (place + 1, stack)).collect();
        let next = self.opened(program, taken);
        self.steps[place] = next;
        next
    }

    /// The state in which these ways are followed to where a byte is read.
    fn opened(&mut self, program: &Program, mut waiting: Vec<(Place, Stack)>) -> State {
        let mut seen: HashSet<(Place, Stack)> = waiting.iter().copied().collect();
        let mut reading: BTreeMap<Place, Vec<Stack>> = BTreeMap::new();
        let mut may_end = false;
        while let Some((place, stack)) = waiting.pop() {
            let mut follow = |way| {
                if seen.insert(way) {
                    waiting.push(way);
                }
            };
            match program.at(place) {
                Instruction::Byte(..) => reading.entry(place).or_default().push(stack),
                Instruction::Call(rule) => {
                    // A call with nothing behind it needs no place to return to.
                    let stack = match program.returns(place + 1) {
                        true => stack,
                        false => self.stack(Tops {
                            is_bottom: false,
                            tops: vec![(place + 1, stack)],
                        }),
                    };
                    for &sequence in program.sequences_of(rule) {
                        follow((sequence, stack));
                    }
                }
                Instruction::Return => {
                    let below = &self.stacks[stack as usize];
                    may_end |= below.is_bottom;
                    below.tops.iter().for_each(|&way| follow(way));
                }
            }
        }
        self.remembered += seen.len();
        let ways = reading.into_iter();
        let ways = ways
            .map(|(place, stacks)| (place, self.joined(&stacks)))
            .collect();
        self.state(program, Ways { ways, may_end })
    }

    /// One stack for several.
    fn joined(&mut self, stacks: &[Stack]) -> Stack {
        if let [only] = stacks {
            return *only;
        }
        let all = stacks.iter().map(|&stack| &self.stacks[stack as usize]);
        let is_bottom = all.clone().any(|tops| tops.is_bottom);
        let mut tops: Vec<(Place, Stack)> = all.flat_map(|tops| &tops.tops).copied().collect();
        tops.sort_unstable();
        tops.dedup();
        self.stack(Tops { is_bottom, tops })
    }

    fn stack(&mut self, tops: Tops) -> Stack {
        if let Some(&stack) = self.stack_numbers.get(&tops) {
            return stack;
        }
        let stack = self.stacks.len() as Stack;
        self.remembered += 1 + tops.tops.len();
        self.stacks.push(tops.clone());
        self.stack_numbers.insert(tops, stack);
        stack
    }

    fn state(&mut self, program: &Program, ways: Ways) -> State {
        if let Some(&state) = self.state_numbers.get(&ways) {
            return state;
        }
        let state = self.states.len() as State;
        self.remembered += 1 + ways.ways.len() + program.classes.len();
        self.steps
            .resize(self.steps.len() + program.classes.len(), UNKNOWN);
        self.states.push(ways.clone());
        self.state_numbers.insert(ways, state);
        state
    }
}
