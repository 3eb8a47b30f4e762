//! Arguments: how they are declared, and what they are once bound.

use super::Decl;
use crate::ast::Ident;
use crate::source::Span;

/// A declared argument.
#[derive(Debug)]
pub struct Arg {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is when not given.
    pub default: Default,
    /// One line for a user.
    pub docs: &'static str,
}

impl Arg {
    /// An argument that must be given.
    pub const fn required(name: &'static str, kind: Kind, docs: &'static str) -> Arg {
        Arg { name, kind, default: Default::Required, docs }
    }

    /// An argument that may be absent, which means something of its own.
    pub const fn optional(name: &'static str, kind: Kind, docs: &'static str) -> Arg {
        Arg { name, kind, default: Default::Absent, docs }
    }

    /// An argument with a default.
    pub const fn with(name: &'static str, kind: Kind, default: Default, docs: &'static str) -> Arg {
        Arg { name, kind, default, docs }
    }
}

/// What an argument takes.
#[derive(Debug)]
pub enum Kind {
    /// An integer of at least this.
    Integer(i64),
    /// One integer of at least this, or a list of them, one for each spatial axis (of `zero_pad` for each side).
    PerAxis(i64),
    /// The same, or one of these words.
    PerAxisOr(i64, &'static [&'static str]),
    /// A number in a range.
    Number(NumberRange),
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of words, each one of these.
    Words(&'static [&'static str]),
    /// Names of layers or weights: a word, a quoted text, or a list of them.
    Names,
    /// A list of numbers.
    Numbers(NumberRange),
    /// The name of an output.
    Output,
    /// A number, or lists of numbers nested as deep as a weight has dimensions.
    Table,
    /// The path of a type of Rust's.
    Type,
    /// Weights with names, shapes and first values.
    OwnWeights,
    /// A quoted text.
    Text,
    /// An initialiser, or a number for all elements.
    Init,
    /// The same for a vector, which has no fans.
    VectorInit,
    /// All arguments by position, names of values.
    Values,
    /// All arguments by position, integers.
    Sizes,
}

/// A range of numbers, with the words for it.
#[derive(Debug)]
pub struct NumberRange {
    /// Whether a number is in it.
    pub holds: fn(f64) -> bool,
    /// `at least 0`
    pub words: &'static str,
}

impl NumberRange {
    /// Any finite number.
    pub const ANY: NumberRange = NumberRange { holds: f64::is_finite, words: "a number" };
    /// Above 0.
    pub const POSITIVE: NumberRange = NumberRange { holds: |number| number > 0.0, words: "above 0" };
    /// At least 0.
    pub const NOT_NEGATIVE: NumberRange = NumberRange { holds: |number| number >= 0.0, words: "at least 0" };
    /// Any number that f32 holds.
    pub const F32: NumberRange =
        NumberRange { holds: |number| number.abs() <= f32::MAX as f64, words: "a number in the range of f32" };
    /// One at least 0.
    pub const F32_NOT_NEGATIVE: NumberRange = NumberRange {
        holds: |number| (0.0..=f32::MAX as f64).contains(&number),
        words: "at least 0, in the range of f32",
    };
    /// One above 0.
    pub const F32_POSITIVE: NumberRange = NumberRange {
        holds: |number| (f32::MIN_POSITIVE as f64..=f32::MAX as f64).contains(&number),
        words: "above 0, in the range of f32",
    };
    /// From 0, below 1.
    pub const BELOW_ONE: NumberRange =
        NumberRange { holds: |number| (0.0..1.0).contains(&number), words: "at least 0 and below 1" };
    /// From 0 to 1.
    pub const FRACTION: NumberRange =
        NumberRange { holds: |number| (0.0..=1.0).contains(&number), words: "between 0 and 1" };
}

/// What an argument is when not given.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// It must be given.
    Required,
    /// It is absent.
    Absent,
    /// This integer.
    Int(i64),
    /// This number.
    Number(f64),
    /// This.
    Bool(bool),
    /// This word.
    Word(&'static str),
}

/// An integer, and how it came about.
#[derive(Clone, Debug)]
pub struct Int {
    /// The value.
    pub value: i64,
    /// Where it is written.
    pub span: Span,
    /// `8 * 8 * n = 2048, with n = 32`, when it was computed.
    pub how: Option<String>,
}

/// A bound argument's value.
#[derive(Clone, Debug)]
pub enum Value {
    /// What could not be bound; it was reported.
    Missing,
    /// An integer.
    Int(Int),
    /// Several integers: one for each axis, or the sizes of a view.
    Ints(Vec<Int>),
    /// A number.
    Number(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A word.
    Word(String),
    /// Words.
    Words(Vec<Ident>),
    /// Numbers.
    Numbers(Vec<f64>),
    /// The shape of nested lists, and their numbers, the last index running fastest.
    Table(Vec<u64>, Vec<f64>),
    /// The path of a type of Rust's.
    Type(String),
    /// Weights of a layer of a user's own.
    OwnWeights(Vec<OwnWeight>),
    /// A text.
    Text(String),
    /// An initialiser.
    Init(Choice),
}

/// A weight that the spec declares, of a layer of a user's own.
#[derive(Clone, Debug)]
pub struct OwnWeight {
    /// Its name.
    pub name: Ident,
    /// Its shape.
    pub shape: Vec<u64>,
    /// What it is filled with.
    pub init: Choice,
}

/// A call of something declared, its arguments bound.
#[derive(Clone, Debug)]
pub struct Choice {
    /// What.
    pub decl: &'static Decl,
    /// With what.
    pub args: Args,
    /// Where it is written.
    pub span: Span,
}

/// The bound arguments of a call, in the order they are declared; defaults are filled in.
#[derive(Clone, Debug, std::default::Default)]
pub struct Args(pub Vec<Bound>);

/// One bound argument.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
    /// Where it is written; a default is nowhere.
    pub span: Option<Span>,
}

impl Args {
    /// The value of an argument; None when it is absent.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|bound| bound.name == name).map(|bound| &bound.value)
    }

    /// Where an argument is written; None for a default.
    pub fn span(&self, name: &str) -> Option<Span> {
        self.0.iter().find(|bound| bound.name == name)?.span
    }

    /// An integer argument.
    pub fn int(&self, name: &str) -> Option<&Int> {
        match self.get(name)? {
            Value::Int(int) => Some(int),
            _ => None,
        }
    }

    /// An integer argument that the op table says is given and not negative.
    pub fn size(&self, name: &str) -> u64 {
        self.int(name).map_or(0, |int| int.value.unsigned_abs())
    }

    /// The word that an argument is.
    pub fn word(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Word(word) => Some(word),
            _ => None,
        }
    }

    /// A per-axis argument: one integer for all, or one for each.
    pub fn axes(&self, name: &str) -> Option<&[Int]> {
        match self.get(name)? {
            Value::Int(int) => Some(std::slice::from_ref(int)),
            Value::Ints(ints) => Some(ints),
            _ => None,
        }
    }

    /// A true-or-false argument.
    pub fn bool(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Bool(true)))
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.get(name)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// How the integers of an argument came about, for notes.
    pub fn how(&self, name: &str) -> impl Iterator<Item = String> {
        self.axes(name).unwrap_or_default().iter().filter_map(|int| int.how.clone())
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        fn list<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
            format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", "))
        }
        match self {
            Value::Missing => f.write_str("?"),
            Value::Int(int) => write!(f, "{}", int.value),
            Value::Ints(ints) => f.write_str(&list(ints, |int| int.value.to_string())),
            Value::Number(number) => write!(f, "{number}"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Word(word) => f.write_str(word),
            Value::Words(words) => f.write_str(&list(words, |word| word.text.clone())),
            Value::Numbers(numbers) => f.write_str(&list(numbers, f64::to_string)),
            Value::Table(shape, numbers) => {
                write!(f, "{}{}", list(shape, u64::to_string), list(numbers, f64::to_string))
            }
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Type(path) => f.write_str(path),
            Value::OwnWeights(weights) => f.write_str(&list(weights, OwnWeight::to_string)),
            Value::Init(choice) => write!(f, "{choice}"),
        }
    }
}

impl std::fmt::Display for OwnWeight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{:?} = {}", self.name.text, self.shape, self.init)
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.decl.name, self.args)
    }
}

impl std::fmt::Display for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let args: Vec<String> = self.0.iter().map(|bound| format!("{} = {}", bound.name, bound.value)).collect();
        write!(f, "({})", args.join(", "))
    }
}
