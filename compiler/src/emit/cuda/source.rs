//! The text of a model: the families of kernels that it uses, its constants, and its kernels.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;

use super::calls::PRODUCT_THREADS;

/// Families of kernels, each after those that it builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    Base,
    Activation,
    Curve,
    Window,
    Product,
    Conv,
    Depthwise,
    Pool,
    BatchNorm,
    GroupNorm,
    Elementwise,
    Resample,
    Dropout,
    Softmax,
    Loss,
    Flat,
}

impl Family {
    /// Its file in `kernels/`, and what is in it.
    fn file(self) -> (&'static str, &'static str) {
        macro_rules! file {
            ($name:literal) => {
                ($name, include_str!(concat!("kernels/", $name)))
            };
        }
        match self {
            Family::Base => file!("base.cuh"),
            Family::Activation => file!("activation.cuh"),
            Family::Curve => file!("curve.cuh"),
            Family::Window => file!("window.cuh"),
            Family::Product => file!("product.cuh"),
            Family::Conv => file!("conv.cuh"),
            Family::Depthwise => file!("depthwise.cuh"),
            Family::Pool => file!("pool.cuh"),
            Family::BatchNorm => file!("batch_norm.cuh"),
            Family::GroupNorm => file!("group_norm.cuh"),
            Family::Elementwise => file!("elementwise.cuh"),
            Family::Resample => file!("resample.cuh"),
            Family::Dropout => file!("dropout.cuh"),
            Family::Softmax => file!("softmax.cuh"),
            Family::Loss => file!("loss.cuh"),
            Family::Flat => file!("flat.cuh"),
        }
    }

    /// What it builds on.
    fn needs(self) -> &'static [Family] {
        match self {
            Family::Curve | Family::BatchNorm => &[Family::Activation],
            Family::Conv => &[Family::Activation, Family::Window, Family::Product],
            Family::Depthwise => &[Family::Conv],
            Family::Pool => &[Family::Activation, Family::Window],
            Family::Resample => &[Family::Window],
            _ => &[Family::Base],
        }
    }
}

/// Names that constants of the model may not have: those of the families that are in capitals as they are.
const TAKEN: &[&str] = &[
    "PRECISION",
    "WRITE",
    "ADD",
    "ADAPTIVE",
    "NEAREST",
    "LINEAR",
    "LINEAR_CORNERS",
    "NOWHERE",
    "NO_FOURS",
    "FOUR_TERMS",
    "FOUR_ROWS",
    "ROWS",
    "RESIDENT",
    "DEPTH",
    "HELD",
    "CHUNK",
    "SHARES",
    "AXIS",
    "WHOLE",
    "SUMS",
    "FINISH",
    "FACTORS",
    "SHAPE",
    "NAN",
    "INFINITY",
    "NULL",
];

/// A text as it grows.
#[derive(Default)]
pub(super) struct Source {
    families: BTreeSet<Family>,
    /// Definitions of constants, in the order of their first use.
    constants: String,
    /// The name of each definition.
    names: HashMap<String, String>,
    /// Names of constants and kernels that are taken.
    taken: HashSet<String>,
    kernels: String,
}

impl Source {
    /// Notes that a family is used.
    pub(super) fn uses(&mut self, family: Family) {
        if self.families.insert(family) {
            family.needs().iter().for_each(|&needed| self.uses(needed));
        }
    }

    /// The name of a constant that is defined so, `@` standing for the name; a new one is named like the layer it is first used for.
    pub(super) fn constant(&mut self, layer: &str, definition: &str) -> String {
        if let Some(name) = self.names.get(definition) {
            return name.clone();
        }
        let stem = words(layer).to_uppercase();
        let stem = if stem.starts_with(|c: char| c.is_ascii_uppercase()) { stem } else { format!("L{stem}") };
        let name = self.unique(&stem);
        let _ = writeln!(self.constants, "{}\n", definition.replace('@', &name));
        self.names.insert(definition.to_owned(), name.clone());
        name
    }

    /// A name that nothing else has: with a number, if it must be.
    fn unique(&mut self, stem: &str) -> String {
        let mut name = stem.to_owned();
        let mut number = 2;
        while TAKEN.contains(&name.as_str()) || !self.taken.insert(name.clone()) {
            name = format!("{stem}_{number}");
            number += 1;
        }
        name
    }

    /// Adds a comment before the next kernel.
    pub(super) fn comment(&mut self, text: &str) {
        let _ = writeln!(self.kernels, "// {text}");
    }

    /// Adds a kernel that calls a function with what it is given; gives its name.
    pub(super) fn kernel(&mut self, stem: &str, threads: u32, parameters: &str, call: (&str, &str)) -> String {
        let name = self.unique(stem);
        let blocks = if threads == PRODUCT_THREADS { ", RESIDENT" } else { "" };
        let head = format!("extern \"C\" __global__ void __launch_bounds__({threads}{blocks})");
        let declaration = broken(&format!("    {name}"), parameters, " {");
        let (function, given) = call;
        let body = broken(&format!("    {function}"), given, ";");
        let _ = writeln!(self.kernels, "{head}\n{declaration}\n{body}\n}}\n");
        name
    }

    /// The whole text.
    pub(super) fn finish(mut self, head: &str) -> Text {
        self.uses(Family::Base);
        self.uses(Family::Flat);
        let mut text = format!("// {head}\n\n");
        let files: Vec<(&str, &str)> = self.families.iter().map(|family| family.file()).collect();
        files.iter().for_each(|(_, of_family)| text += &format!("{of_family}\n"));
        let own = text.len();
        let _ = write!(text, "// The model's sizes.\n\n{}// Its kernels.\n\n{}", self.constants, self.kernels);
        text.truncate(text.trim_end().len());
        text.push('\n');
        Text { text, families: files.into_iter().map(|(name, _)| name).collect(), own }
    }
}

/// A model's CUDA C++.
pub(super) struct Text {
    /// All of it.
    pub(super) text: String,
    /// The files of the families of kernels that it begins with.
    pub(super) families: Vec<&'static str>,
    /// Where the model's own part begins, behind them.
    pub(super) own: usize,
}

/// Columns of a line.
const WIDTH: usize = 140;

/// `name(arguments)end`, the arguments in a line of their own if they are too many for one.
fn broken(name: &str, arguments: &str, end: &str) -> String {
    let line = format!("{name}({arguments}){end}");
    if line.len() <= WIDTH { line } else { format!("{name}(\n        {arguments}){end}") }
}

/// `resblocks.*.conv` as a part of a name: `resblocks_conv`.
pub(super) fn words(path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_lowercase()
}
