//! Random nets.

use netspec::random::bits;

/// A net of the seed's: maps of `[8, 8, 8]` through containers inside each other.
pub(crate) fn random_net(seed: u64) -> String {
    let body = statements(&mut Dice { seed, throws: 0 }, 3);
    format!("model M {{ input x [8, 8, 8]; conv(8, kernel = 1); {body} flatten; linear(4); }}")
}

/// Random numbers below a bound.
struct Dice {
    seed: u64,
    throws: u64,
}

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.throws += 1;
        bits(&[self.seed, self.throws]) % bound
    }
}

/// Statements that keep the shape `[8, 8, 8]`, with containers up to `depth` inside each other.
fn statements(dice: &mut Dice, depth: u64) -> String {
    let count = 1 + dice.below(4);
    (0..count).map(|_| statement(dice, depth)).collect()
}

fn one_of(dice: &mut Dice, all: &[&str]) -> String {
    all[dice.below(all.len() as u64) as usize].to_owned()
}

fn statement(dice: &mut Dice, depth: u64) -> String {
    match dice.below(if depth == 0 { 8 } else { 13 }) {
        0 => "relu; ".to_owned(),
        1 => "tanh; ".to_owned(),
        2 => one_of(dice, &["batch_norm; ", "batch_norm; ", "group_norm(2); ", "instance_norm; ", "layer_norm; "]),
        3 => "dropout(0.5); ".to_owned(),
        4 => "max_pool(3, stride = 1, padding = 1); ".to_owned(),
        5 => one_of(dice, &["identity; ", "leaky_relu; ", "elu; ", "gelu; ", "silu; ", "softplus; ", "hardswish; "]),
        6 | 7 => "conv(8, kernel = 3, padding = 1); ".to_owned(),
        8 => format!("skip {{ {}}} ", statements(dice, depth - 1)),
        9 => {
            let (arm, other) = (statements(dice, depth - 1), statements(dice, depth - 1));
            format!("branch concat {{ {{ {arm}}} {{ {other}}} }} conv(8, kernel = 1); ")
        }
        10 => {
            let (arm, other) = (statements(dice, depth - 1), statements(dice, depth - 1));
            format!("branch add {{ {{ {arm}}} {{ {other}}} {{ identity; }} }} ")
        }
        11 => format!("repeat {} {{ {}}} ", 2 + dice.below(3), statements(dice, depth - 1)),
        _ => format!("repeat {} tied {{ {}}} ", 2 + dice.below(3), statements(dice, depth - 1)),
    }
}
