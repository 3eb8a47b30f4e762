//! Models on a graphics card: a data set that lies on the card, and steps or passes over its batches that follow each other as in a training.
//!
//! The clock is the wall's, around as many calls as take the time of a round and one wait behind them. What a call takes of the host, making
//! the list of what to do and telling it, is a part of it where the card does not take longer.

use std::time::Instant;

use netspec::cuda::{Measured, program::OnDevice};
use netspec::network;
use netspec::{CrossEntropy, Error, Loss, Precision, Sample, Sgd};
use serde_json::{Value, json};

use crate::models::{Model, Pass, WARM_UP, numbers};
use crate::rounds::{best, median};

/// Batches of the data set.
const BATCHES: usize = 8;

/// Seconds that a card has something to do while it is told what will be timed.
const AHEAD: f64 = 0.02;

/// A card by its number, and what it multiplies in.
#[derive(Clone, Copy)]
pub(crate) struct Card {
    pub(crate) number: usize,
    pub(crate) precision: Precision,
}

/// A model on a card, with its data.
pub(crate) trait OnCard {
    /// Tells the card a step, or a pass.
    fn call(&mut self, pass: Pass) -> Result<(), Error>;
    /// Waits for the card.
    fn wait(&mut self) -> Result<(), Error>;
    /// The kernels of a call, and the seconds of each.
    fn kernels(&mut self, pass: Pass) -> Result<Vec<(String, f64)>, Error>;
}

struct Classifier<N> {
    measured: Measured<N>,
    sgd: Sgd,
}

impl<N: OnDevice> OnCard for Classifier<N> {
    fn call(&mut self, pass: Pass) -> Result<(), Error> {
        match pass {
            Pass::Train => self.measured.step(&mut self.sgd),
            Pass::Infer => self.measured.infer(),
        }
    }

    fn wait(&mut self) -> Result<(), Error> {
        self.measured.wait()
    }

    fn kernels(&mut self, pass: Pass) -> Result<Vec<(String, f64)>, Error> {
        let Classifier { measured, sgd } = self;
        measured.kernels(|measured| match pass {
            Pass::Train => measured.step(sgd),
            Pass::Infer => measured.infer(),
        })
    }
}

/// A model on a card, and batches of so many images.
pub(crate) fn place<N>(card: Card, batch: usize) -> Result<Box<dyn OnCard>, Error>
where
    N: OnDevice<Input: Sample, Output: Sample>,
    CrossEntropy: Loss<N::Output, Target = usize>,
{
    let numbers = numbers(BATCHES * batch * N::Input::VALUES);
    let inputs = netspec::samples::<N>(&numbers)?;
    let labels: Vec<usize> = (0..BATCHES * batch).map(|sample| sample % N::Output::VALUES).collect();
    let at = (card.number, card.precision);
    let measured = Measured::<N>::new(network::new(0), at, (inputs, &labels[..]), &CrossEntropy, batch)?;
    // As slow as on the processor, so that the weights stay finite for as long as it takes.
    Ok(Box::new(Classifier { measured, sgd: Sgd::new(1e-3) }))
}

/// What is asked for of each model.
pub(crate) struct Wanted<'a> {
    pub(crate) models: &'a [&'a Model],
    pub(crate) passes: &'static [Pass],
    pub(crate) batches: &'a [usize],
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    /// Kernels and not models: those whose names have this text.
    pub(crate) kernels: Option<&'a str>,
}

/// Measures, and prints.
pub(crate) fn measure(card: Card, wanted: &Wanted<'_>) -> Result<Vec<Value>, Error> {
    println!("cuda:{}, products in {}, data on the card, image/s by the wall's clock", card.number, card.precision);
    let mut measured = Vec::new();
    for model in wanted.models {
        for &batch in wanted.batches {
            let mut on_card = (model.on_card)(card, batch)?;
            for &pass in wanted.passes {
                let what = format!("{:15} {} batch {batch:2}", model.name, pass.name());
                let mut found = json!({ "model": model.name, "pass": pass.name(), "batch": batch });
                warm_up(&mut *on_card, pass)?;
                match wanted.kernels {
                    None => {
                        let rates = (0..wanted.rounds).map(|_| rate(&mut *on_card, pass, wanted.seconds));
                        let rates =
                            rates.map(|rate| rate.map(|rate| batch as f64 * rate)).collect::<Result<Vec<_>, _>>()?;
                        println!("{what}  median {:.0}, best {:.0}", median(&rates), best(&rates));
                        found["images_per_second"] =
                            json!({ "best": best(&rates), "median": median(&rates), "samples": rates });
                    }
                    Some(only) => {
                        println!("{what}");
                        found["kernels"] = kernels(&mut *on_card, pass, only)?;
                    }
                }
                measured.push(found);
            }
        }
    }
    Ok(measured)
}

/// One round of one figure.
pub(crate) fn one((card, model): (Card, &Model), pass: Pass, batch: usize, seconds: f64) -> Result<Value, Error> {
    let mut on_card = (model.on_card)(card, batch)?;
    warm_up(&mut *on_card, pass)?;
    Ok(json!({ "images_per_second": batch as f64 * rate(&mut *on_card, pass, seconds)? }))
}

fn warm_up(on_card: &mut dyn OnCard, pass: Pass) -> Result<(), Error> {
    (0..WARM_UP).try_for_each(|_| on_card.call(pass))?;
    on_card.wait()
}

/// Calls a second, of as many as take so many seconds.
fn rate(on_card: &mut dyn OnCard, pass: Pass, seconds: f64) -> Result<f64, Error> {
    let mut calls = 1;
    loop {
        let begin = Instant::now();
        (0..calls).try_for_each(|_| on_card.call(pass))?;
        on_card.wait()?;
        let took = begin.elapsed().as_secs_f64();
        if took >= seconds {
            return Ok(calls as f64 / took);
        }
        // A little more than it seems to take; of a time that is mostly the wait's, not too many.
        calls = ((1.1 * seconds / took * calls as f64) as usize).clamp(calls + 1, 10 * calls);
    }
}

/// Prints the kernels of a call, and what part each is of all of them.
fn kernels(on_card: &mut dyn OnCard, pass: Pass, only: &str) -> Result<Value, Error> {
    let ahead = (AHEAD * rate(on_card, pass, AHEAD)?).ceil() as usize;
    (0..ahead).try_for_each(|_| on_card.call(pass))?;
    let times = on_card.kernels(pass)?;
    let all: f64 = times.iter().map(|(_, seconds)| seconds).sum();
    let times = times.iter().filter(|(name, _)| name.contains(only));
    let told = |(name, seconds): &(String, f64)| {
        println!("{:5.1} %  {:8.1} us  {name}", 100.0 * seconds / all, 1e6 * seconds);
        json!({ "kernel": name, "microseconds": 1e6 * seconds, "part": seconds / all })
    };
    Ok(times.map(told).collect())
}
