//! Rules as a list of instructions, one behind the other.

use super::parse::{Element, Rules};

/// Where in a program.
pub(super) type Place = u32;

#[derive(Debug, Clone, Copy)]
pub(super) enum Instruction {
    /// Reads a byte between two.
    Byte(u8, u8),
    /// Does what one of the sequences of a rule says.
    Call(u32),
    /// Goes on behind the call.
    Return,
}

/// The rules of a grammar.
#[derive(Debug)]
pub(super) struct Program {
    instructions: Vec<Instruction>,
    /// Where the sequences of each rule begin.
    sequences: Vec<Vec<Place>>,
    /// Where the text may begin.
    pub starts: Vec<Place>,
    /// For each byte, the number of its class: bytes of a class are in the same ranges.
    pub class_of: [u8; 256],
    /// A byte of each class.
    pub classes: Vec<u8>,
}

impl Program {
    /// Lays out rules that have been checked.
    pub fn new(rules: &Rules) -> Self {
        let mut program = Program {
            instructions: Vec::new(),
            sequences: Vec::new(),
            starts: Vec::new(),
            class_of: [0; 256],
            classes: Vec::new(),
        };
        for rule in &rules.rules {
            let sequences = rule.sequences.iter().flatten();
            let places = sequences.map(|sequence| program.add(sequence)).collect();
            program.sequences.push(places);
        }
        let root = Element::Call(rules.root);
        let space = Element::Byte(b' ', b' ');
        program.starts = vec![program.add(&[root]), program.add(&[space, root])];
        program.divide();
        program
    }

    fn add(&mut self, sequence: &[Element]) -> Place {
        let place = self.instructions.len() as Place;
        let instructions = sequence.iter().map(|element| match *element {
            Element::Byte(first, last) => Instruction::Byte(first, last),
            Element::Call(rule) => Instruction::Call(rule as u32),
        });
        self.instructions.extend(instructions);
        self.instructions.push(Instruction::Return);
        place
    }

    /// Divides the bytes into classes.
    fn divide(&mut self) {
        let mut begins = [false; 257];
        begins[0] = true;
        for instruction in &self.instructions {
            if let Instruction::Byte(first, last) = *instruction {
                begins[usize::from(first)] = true;
                begins[usize::from(last) + 1] = true;
            }
        }
        for byte in 0..=u8::MAX {
            if begins[usize::from(byte)] {
                self.classes.push(byte);
            }
            self.class_of[usize::from(byte)] = (self.classes.len() - 1) as u8;
        }
    }

    pub fn at(&self, place: Place) -> Instruction {
        self.instructions[place as usize]
    }

    pub fn sequences_of(&self, rule: u32) -> &[Place] {
        &self.sequences[rule as usize]
    }

    /// Whether nothing is left to do at a place but to return.
    pub fn returns(&self, place: Place) -> bool {
        matches!(self.at(place), Instruction::Return)
    }
}
