//! Data sets that a card has: as bytes where they are bytes, so that a batch needs no more than the numbers of its records.
#![cfg_attr(not(feature = "trainer"), allow(dead_code))] // The trainer is who has data sets.

use std::sync::Arc;

use super::calls::Word;
use super::card::{Buffer, Card, Number, grow};
use super::engine::Script;
use crate::Error;
use crate::data::{Augmented, Drawn, Split};
use crate::network::Feed;

/// The kernels, which stand behind each model's text.
pub(super) const TEXT: &str = include_str!("records.cuh");

/// Threads of their blocks.
const THREADS: u32 = 256;

/// Parts of a card's free memory, of which a data set takes one at most: the rest is for the model.
const PARTS: usize = 2;

/// The inputs of a batch.
pub(crate) enum Inputs<'a> {
    /// Written by the host.
    Feed(&'a Feed<'a>),
    /// Records of a data set, with as many changes of each.
    Records { of: &'a Records, numbers: &'a [u32], changes: &'a [Change] },
}

/// A change of a record, as kernels read it.
pub(crate) type Change = [i32; 5];

/// The records of a split, on a card.
pub(crate) struct Records {
    of: Elements,
    black: Buffer<f32>,
    /// Channels, height and width of an image; else channels, 1 and the rest.
    shape: [usize; 3],
}

enum Elements {
    /// Bytes, and the number that each stands for in each channel.
    Bytes(Buffer<u8>, Buffer<f32>),
    /// As a model reads them.
    Floats(Buffer<f32>),
}

impl Records {
    /// Brings a split to a card, whose inputs have this shape; None if it takes too much of what is free.
    pub(super) fn bring(card: &Arc<Card>, split: &Split, shape: &[usize]) -> Result<Option<Records>, Error> {
        let len: usize = shape.iter().product();
        let channels = shape.first().copied().unwrap_or(1);
        let shape = <[usize; 3]>::try_from(shape).unwrap_or([channels, 1, len / channels]);
        let elements = split.records() * len;
        let bytes = split.bytes();
        let takes = if bytes.is_some() { elements } else { 4 * elements };
        if takes > card.free() / PARTS {
            return Ok(None);
        }
        let black: Vec<f32> = (0..channels).map(|channel| split.black(channel)).collect();
        let Some((bytes, tables)) = bytes else {
            let mut all = vec![0.0; elements];
            all.chunks_exact_mut(len).enumerate().for_each(|(record, to)| split.feed(record, to));
            return Records::of_floats(card, &all, &black, shape).map(Some);
        };
        // There may be one for all channels.
        let tables: Vec<f32> = tables.iter().cycle().take(channels.max(tables.len())).flatten().copied().collect();
        let of = Elements::Bytes(brought(card, bytes)?, brought(card, &tables)?);
        Ok(Some(Records { of, black: brought(card, &black)?, shape }))
    }

    /// Brings records to a card that are numbers as a model reads them, of this shape, and what is black in each channel.
    pub(super) fn of_floats(
        card: &Arc<Card>,
        floats: &[f32],
        black: &[f32],
        shape: [usize; 3],
    ) -> Result<Records, Error> {
        Ok(Records { of: Elements::Floats(brought(card, floats)?), black: brought(card, black)?, shape })
    }

    /// Adds to a list what writes a batch of so many samples to an address: of each its record, or with shares, which are at an address too,
    /// a mean of that and of one behind the batch's.
    pub(super) fn pick(
        &self,
        script: &mut Script,
        memory: &mut PickMemory,
        (numbers, changes): (&[u32], &[Change]),
        shares: u64,
        (batch, to): (usize, u64),
    ) -> Result<(), Error> {
        let PickMemory { numbers: numbers_at, changes: changes_at } = memory;
        let what = || format!("the records of a batch of {batch}");
        let at = [
            grow(numbers_at, &script.card, numbers.len(), what)?,
            grow(changes_at, &script.card, 5 * changes.len(), what)?,
        ];
        numbers_at.as_mut().map_or(Ok(()), |buffer| buffer.write(numbers))?;
        changes_at.as_mut().map_or(Ok(()), |buffer| buffer.write(changes.as_flattened()))?;
        let address = |at: u64| Word::Address(at);
        let mut args = Vec::new();
        let kernel = match &self.of {
            Elements::Bytes(bytes, tables) => {
                args.extend([bytes.address(), tables.address()].map(address));
                "records_of_bytes"
            }
            Elements::Floats(floats) => {
                args.push(address(floats.address()));
                "records_of_floats"
            }
        };
        let of_record = changes.len() / numbers.len().max(1);
        let elements = batch * self.shape.iter().product::<usize>();
        args.extend([self.black.address(), at[0], at[1]].map(address));
        args.extend([Word::U32(of_record as u32), address(shares), address(to), Word::U32(batch as u32)]);
        args.extend(self.shape.map(|size| Word::U32(size as u32)));
        let blocks = elements.div_ceil(THREADS as usize) as u32;
        script.launch(kernel, [blocks, 1, 1], THREADS, &args)
    }
}

/// A part of a data set, on a card.
fn brought<T: Number>(card: &Arc<Card>, from: &[T]) -> Result<Buffer<T>, Error> {
    let mut buffer = Buffer::new(card, from.len(), || "a data set".to_owned())?;
    buffer.write(from)?;
    Ok(buffer)
}

/// Memory for which records a batch has.
#[derive(Default)]
pub(super) struct PickMemory {
    numbers: Option<Buffer<u32>>,
    changes: Option<Buffer<i32>>,
}

/// The changes of some records, as many of each.
pub(crate) fn changes(of: &Augmented<'_>, records: &[usize]) -> Vec<Change> {
    let number = |number: usize| number as i32;
    let change = |drawn| match drawn {
        Drawn::None => [0; 5],
        Drawn::Move { down, right } => [1, down as i32, right as i32, 0, 0],
        Drawn::Flip => [2, 0, 0, 0, 0],
        Drawn::Blank { rows: [top, bottom], columns: [left, right] } => {
            [3, number(top), number(bottom), number(left), number(right)]
        }
    };
    records.iter().flat_map(|&record| of.drawn(record).map(change)).collect()
}
