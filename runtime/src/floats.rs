//! Floats of the host that a graphics card may have too: where the newer ones are, and the way between.
//!
//! Weights, gradients and what optimizers keep are such. They go over to a card when it first needs them, and come back when the host
//! asks: a training on a card moves none of them. Without the feature `cuda` they are a `Vec`.

use std::fmt;
use std::sync::OnceLock;

#[cfg(feature = "cuda")]
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(feature = "cuda")]
use crate::Error;
#[cfg(feature = "cuda")]
use crate::cuda::{Buffer, Card};
use crate::memory;

/// Floats of the host that a card may have too.
#[derive(Default)]
pub(crate) struct Floats {
    /// Unset when a card has newer ones.
    host: OnceLock<Vec<f32>>,
    #[cfg(feature = "cuda")]
    card: Mutex<Option<OnCard>>,
}

/// A card's.
#[cfg(feature = "cuda")]
struct OnCard {
    buffer: Arc<Buffer<f32>>,
    /// How many of the buffer's.
    len: usize,
    /// Whether they are the host's, or newer.
    is_current: bool,
}

impl Floats {
    pub(crate) fn new(floats: Vec<f32>) -> Floats {
        let empty = Floats::default();
        // A new cell is unset.
        let _ = empty.host.set(floats);
        empty
    }

    /// They, from a card if it has the newer ones.
    ///
    /// # Panics
    ///
    /// When the card failed behind the call that has made them.
    pub(crate) fn get(&self) -> &[f32] {
        self.host.get_or_init(|| self.bring())
    }

    /// They, to be changed.
    ///
    /// # Panics
    ///
    /// As of [`Floats::get`].
    pub(crate) fn get_mut(&mut self) -> &mut Vec<f32> {
        self.get();
        #[cfg(feature = "cuda")]
        if let Some(on_card) = self.card_mut() {
            on_card.is_current = false;
        }
        self.host.get_mut().expect("`get` has brought them")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.host.get().map_or_else(|| self.len_on_card(), Vec::len)
    }
}

#[cfg(not(feature = "cuda"))]
impl Floats {
    fn bring(&self) -> Vec<f32> {
        Vec::new()
    }

    fn len_on_card(&self) -> usize {
        0
    }
}

#[cfg(feature = "cuda")]
impl Floats {
    fn card(&self) -> std::sync::MutexGuard<'_, Option<OnCard>> {
        self.card.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn card_mut(&mut self) -> &mut Option<OnCard> {
        self.card.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn bring(&self) -> Vec<f32> {
        let card = self.card();
        let Some(OnCard { buffer, len, .. }) = &*card else {
            return Vec::new();
        };
        let mut floats = vec![0.0; *len];
        if let Err(error) = buffer.read(0, &mut floats) {
            panic!("{error}");
        }
        floats
    }

    /// They, on a card. Kernels may read them there; for what may be written, see [`Floats::written`].
    pub(crate) fn on_card(&self, card: &Arc<Card>) -> Result<Arc<Buffer<f32>>, Error> {
        let is_here = |on_card: &OnCard| Arc::ptr_eq(on_card.buffer.card(), card) && on_card.is_current;
        if let Some(on_card) = self.card().as_ref().filter(|on_card| is_here(on_card)) {
            return Ok(on_card.buffer.clone());
        }
        // From another card they come over the host.
        let floats = self.get();
        let mut slot = self.card();
        let on_card = place(&mut slot, card, floats.len())?;
        match Arc::get_mut(&mut on_card.buffer) {
            Some(buffer) => buffer.write(floats)?,
            // Another thread's pass still reads the old ones.
            None => {
                let mut buffer = Buffer::new(card, floats.len(), || "the model".to_owned())?;
                buffer.write(floats)?;
                on_card.buffer = Arc::new(buffer);
            }
        }
        on_card.is_current = true;
        Ok(on_card.buffer.clone())
    }

    /// Room for so many on a card, of any content: the card will write them.
    pub(crate) fn room_on_card(&mut self, card: &Arc<Card>, len: usize) -> Result<Arc<Buffer<f32>>, Error> {
        Ok(place(self.card_mut(), card, len)?.buffer.clone())
    }

    /// As [`Floats::on_card`], so many zeros if there are none yet.
    pub(crate) fn begun_on_card(&mut self, card: &Arc<Card>, len: usize) -> Result<Arc<Buffer<f32>>, Error> {
        if self.is_empty() {
            *self.get_mut() = vec![0.0; len];
        }
        let buffer = self.on_card(card)?;
        assert_eq!(self.len(), len, "an optimizer serves one model");
        Ok(buffer)
    }

    /// Notes that the card has newer ones: what [`Floats::on_card`] or [`Floats::room_on_card`] gave was written to.
    pub(crate) fn written(&mut self) {
        if let Some(on_card) = self.card_mut() {
            on_card.is_current = true;
            self.host = OnceLock::new();
        }
    }

    fn len_on_card(&self) -> usize {
        self.card().as_ref().map_or(0, |on_card| on_card.len)
    }
}

/// Makes room on a card, unless there is some.
#[cfg(feature = "cuda")]
fn place<'a>(slot: &'a mut Option<OnCard>, card: &Arc<Card>, len: usize) -> Result<&'a mut OnCard, Error> {
    let fits = |on_card: &OnCard| Arc::ptr_eq(on_card.buffer.card(), card) && on_card.buffer.len() == len;
    if !slot.as_ref().is_some_and(fits) {
        // The old one is given back first.
        *slot = None;
        let buffer = Arc::new(Buffer::new(card, len, || "the model".to_owned())?);
        *slot = Some(OnCard { buffer, len, is_current: false });
    }
    Ok(slot.as_mut().expect("it was just filled"))
}

impl Clone for Floats {
    fn clone(&self) -> Floats {
        let mut copy = memory::zeros(self.get().len());
        copy.copy_from_slice(self.get());
        Floats::new(copy)
    }
}

impl PartialEq for Floats {
    fn eq(&self, other: &Floats) -> bool {
        self.get() == other.get()
    }
}

impl fmt::Debug for Floats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_those_that_were_given() {
        let mut floats = Floats::default();
        assert!(floats.get().is_empty());
        floats.get_mut().extend([1.0, 2.0]);
        let copy = floats.clone();
        floats.get_mut()[0] = 3.0;
        assert_eq!((floats.get(), copy.get()), (&[3.0, 2.0][..], &[1.0, 2.0][..]));
        assert!(floats != copy && floats == Floats::new(vec![3.0, 2.0]));
        assert_eq!(format!("{copy:?}"), "[1.0, 2.0]");
    }
}
