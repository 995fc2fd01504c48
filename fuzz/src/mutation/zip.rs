//! Mutations of zip archives: of an entry's contents, by a mutation for its kind and with correct headers
//! again; of the headers themselves; and sometimes of the bytes of the whole file.

use std::io::{Cursor, Read};

use super::{BORDERS, Chance, Mutation, bytes, json};
use crate::pt2::{Entry, archive};

/// The longest contents that are read from an archive.
const LONGEST: u64 = 1 << 16;

/// Changes an archive; `contents` gives the mutation for an entry by its name.
pub fn mutate(
    chance: &mut Chance,
    input: &[u8],
    other: &[u8],
    contents: fn(&[u8]) -> Mutation,
) -> Vec<u8> {
    let Some(mut entries) = entries(input).filter(|_| chance.u8(0..8) != 0) else {
        return bytes::mutate(chance, input, other);
    };
    let donors = self::entries(other).unwrap_or_default();
    for _ in 0..chance.usize(1..=2) {
        change(chance, &mut entries, &donors, contents);
    }
    archive(&entries)
}

/// The mutation for an entry of a `.pt2`.
pub fn of_pt2(name: &[u8]) -> Mutation {
    match name.ends_with(b".json") {
        true => json::mutate,
        false => bytes::mutate,
    }
}

fn change(
    chance: &mut Chance,
    entries: &mut Vec<Entry>,
    donors: &[Entry],
    contents: fn(&[u8]) -> Mutation,
) {
    if entries.is_empty() {
        entries.extend(donors.iter().cloned());
        return;
    }
    let at = chance.usize(0..entries.len());
    let entry = &mut entries[at];
    match chance.u8(0..24) {
        0 => entry.crc = Some(chance.u32(..)),
        1 => entry.len = Some(BORDERS[chance.usize(0..BORDERS.len())] as u32),
        2 => {
            let len = entry.contents.len() as u32;
            entry.len = Some(len.wrapping_add(chance.u32(0..5)).wrapping_sub(2));
        }
        3 => entry.offset = Some(chance.u32(0..4096)),
        4 => entry.method = [8, 9, 12, 14, 93, 99][chance.usize(0..6)],
        5 => entry.flags = 1 << chance.u16(0..16),
        6 => entry.name = bytes::mutate(chance, &entry.name, b"../"),
        7 => {
            entries.remove(at);
        }
        8 => {
            let again = entry.clone();
            entries.insert(at, again);
        }
        9 => {
            let with = chance.usize(0..entries.len());
            let name = entries[with].name.clone();
            entries[at].name = name;
        }
        10 => {
            let with = chance.usize(0..entries.len());
            entries.swap(at, with);
        }
        11 => {
            if let Some(donor) = super::one_of(chance, donors) {
                entries.push(donor.clone());
            }
        }
        _ => {
            let same = donors.iter().find(|d| d.name == entry.name);
            let other = same.map_or(&[][..], |d| &d.contents);
            entry.contents = contents(&entry.name)(chance, &entry.contents, other);
        }
    }
}

fn entries(input: &[u8]) -> Option<Vec<Entry>> {
    let mut zip = zip::ZipArchive::new(Cursor::new(input)).ok()?;
    let mut entries = Vec::new();
    for i in 0..zip.len().min(64) {
        let entry = zip.by_index_raw(i).ok()?;
        let name = entry.name_raw().to_vec();
        let mut contents = Vec::new();
        entry.take(LONGEST).read_to_end(&mut contents).ok()?;
        entries.push(Entry::new(name, contents));
    }
    Some(entries)
}
