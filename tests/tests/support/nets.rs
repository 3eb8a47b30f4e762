//! Random nets.

use netspec::random::bits;

/// A net of the seed's: maps of `[8, 8, 8]` through containers inside each other. Every fourth has three outputs.
pub(crate) fn random_net(seed: u64) -> String {
    net(Dice { seed, throws: 0, moves: false, channels: 8 }, 8)
}

/// A net of the seed's with layers that move values too.
pub(crate) fn moving_net(seed: u64) -> String {
    net(Dice { seed, throws: 0, moves: true, channels: 8 }, 8)
}

/// A net of the seed's of maps of `[48, 2, 2]`, so that the gradients of weights are made once for the batch.
pub(crate) fn random_wide_net(seed: u64) -> String {
    net(Dice { seed, throws: 0, moves: false, channels: 48 }, 2)
}

fn net(mut dice: Dice, size: u64) -> String {
    let (body, channels) = (statements(&mut dice, 3), dice.channels);
    if dice.seed % 4 == 3 {
        return format!(
            "model M {{ input x [8, {size}, {size}]; conv({channels}, kernel = 1) as early; {body} flatten; linear(4) as y; \
             from early; max_pool(2); flatten; linear(4) as z; output y, early, z; }}"
        );
    }
    format!("model M {{ input x [8, {size}, {size}]; conv({channels}, kernel = 1); {body} flatten; linear(4); }}")
}

/// Random numbers below a bound.
struct Dice {
    seed: u64,
    throws: u64,
    /// Whether layers that move values are thrown.
    moves: bool,
    /// Of every map.
    channels: u64,
}

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.throws += 1;
        bits(&[self.seed, self.throws]) % bound
    }
}

/// Statements that keep the shape, with containers up to `depth` inside each other.
fn statements(dice: &mut Dice, depth: u64) -> String {
    let count = 1 + dice.below(4);
    (0..count).map(|_| statement(dice, depth)).collect()
}

fn one_of(dice: &mut Dice, all: &[&str]) -> String {
    all[dice.below(all.len() as u64) as usize].to_owned()
}

fn statement(dice: &mut Dice, depth: u64) -> String {
    if dice.moves && dice.below(2) == 0 {
        return MOVES[dice.below(MOVES.len() as u64) as usize].to_owned();
    }
    let channels = dice.channels;
    match dice.below(if depth == 0 { 8 } else { 13 }) {
        0 => "relu; ".to_owned(),
        1 => "tanh; ".to_owned(),
        2 => one_of(dice, &["batch_norm; ", "batch_norm; ", "group_norm(2); ", "instance_norm; ", "layer_norm; "]),
        3 => "dropout(0.5); ".to_owned(),
        4 => "max_pool(3, stride = 1, padding = 1); ".to_owned(),
        5 => one_of(dice, &["identity; ", "leaky_relu; ", "elu; ", "gelu; ", "silu; ", "softplus; ", "hardswish; "]),
        6 => format!("conv({channels}, kernel = 3, padding = 1); "),
        7 => match dice.below(3) {
            0 => format!("conv({channels}, kernel = 3, padding = 1, groups = {channels}); "),
            1 => format!("conv({channels}, kernel = 2, padding = same, groups = 2); "),
            _ => format!("conv_transpose({channels}, kernel = 3, padding = 1); "),
        },
        8 => format!("skip {{ {}}} ", statements(dice, depth - 1)),
        9 => {
            let (arm, other) = (statements(dice, depth - 1), statements(dice, depth - 1));
            format!("branch concat {{ {{ {arm}}} {{ {other}}} }} conv({channels}, kernel = 1); ")
        }
        10 => {
            let (arm, other) = (statements(dice, depth - 1), statements(dice, depth - 1));
            format!("branch add {{ {{ {arm}}} {{ {other}}} {{ identity; }} }} ")
        }
        11 => format!("repeat {} {{ {}}} ", 2 + dice.below(3), statements(dice, depth - 1)),
        _ => format!("repeat {} tied {{ {}}} ", 2 + dice.below(3), statements(dice, depth - 1)),
    }
}

/// Layers that move values, with what brings the shape back.
const MOVES: [&str; 10] = [
    "zero_pad(1); conv(8, kernel = 3); ",
    "zero_pad((0, 1, 2, 0)); conv(8, kernel = (3, 2)); ",
    "upsample(2); avg_pool(2); ",
    "adaptive_avg_pool(3); upsample(size = 8, mode = bilinear); ",
    "channel_shuffle(2); ",
    "permute(0, 1, 3, 2); ",
    "branch multiply { { identity; } { global_avg_pool; conv(8, kernel = 1); sigmoid; } } ",
    "branch multiply { { narrow(1, start = 2, length = 1); } { tanh; } } ",
    "branch concat { { narrow(1, start = 5, length = 3); relu; } { narrow(1, start = 0, length = 5); } } ",
    "branch concat { { narrow(1, start = 0, length = 5); } { narrow(1, start = 1, length = 6); } } conv(8, kernel = 1); ",
];
