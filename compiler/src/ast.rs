//! What both readers give: the page as written, with the place of every word.
//!
//! The AST knows statements, calls and expressions but no layer names, no argument names and no defaults; those are the op
//! table's ([`crate::ops`]) and [`crate::resolve`] joins the two. A page in either spelling gives the same AST but for its
//! spans and for [`Arg`]s that YAML names and the DSL gives by position.

use crate::source::{FileId, Span};

/// A name as written.
#[derive(Clone, Debug)]
pub struct Ident {
    /// The name.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A whole source: one model, its blocks, its training; or blocks for others to use. The readers report a missing model and still give
/// what they read.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// The source.
    pub file: FileId,
    /// The files whose blocks it uses, in the order written.
    pub uses: Vec<Use>,
    /// The model.
    pub model: Option<Model>,
    /// Templates, in the order written.
    pub blocks: Vec<Block>,
    /// How it is trained.
    pub train: Option<Train>,
}

/// `use "blocks.netspec";`: the blocks of another file.
#[derive(Clone, Debug)]
pub struct Use {
    /// As written: from the folder of the file it stands in.
    pub path: String,
    /// Where it is written.
    pub span: Span,
    /// The file, once it is read.
    pub file: Option<FileId>,
}

/// `model Name(params) { … }`.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its name.
    pub name: Ident,
    /// Its parameters, which can be set from outside.
    pub params: Vec<Param>,
    /// `input image [3, 32, 32];`
    pub inputs: Vec<Input>,
    /// `shared enc { … }` declared directly in it.
    pub shared: Vec<Shared>,
    /// The layers.
    pub body: Body,
    /// `output a, b;`, empty when not written.
    pub outputs: Vec<Ident>,
}

/// An integer parameter of a model or block.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: Ident,
    /// Its default.
    pub default: Option<Expr>,
}

/// `input image [3, 32, 32];`: the shape of one sample; or `input image [3, 32, 32] with gradient;`.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub name: Ident,
    /// The shape, one list.
    pub shape: Expr,
    /// `with gradient`: whether the model shall give the loss's derivative by it.
    pub has_gradient: bool,
}

/// `block Name(params) { … }`: a template, new weights at each use.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its name.
    pub name: Ident,
    /// Its parameters.
    pub params: Vec<Param>,
    /// Instances declared directly in it, one set for each use of the block.
    pub shared: Vec<Shared>,
    /// The layers.
    pub body: Body,
}

/// `shared enc { … }`: an instance, one set of weights for all its uses.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Its name.
    pub name: Ident,
    /// The layers.
    pub body: Body,
}

/// Statements between braces, or the items of a YAML list.
#[derive(Clone, Debug)]
pub struct Body {
    /// In order.
    pub statements: Vec<Statement>,
    /// From the opening to the closing brace, or the first to the last item.
    pub span: Span,
}

/// One step of a body.
#[derive(Clone, Debug)]
pub struct Statement {
    /// What it does.
    pub kind: StatementKind,
    /// `as name`.
    pub name: Option<Ident>,
    /// `: [8, 8, 8]`, one list: the output's shape as the user asserts it.
    pub shape: Option<Expr>,
    /// The word it is known by: the layer's name, or `skip`, `branch`, `repeat`, `from`.
    pub head: Span,
    /// The whole statement: in the DSL with its `;` or `}`, in YAML from the item's first character (behind the `- `) to its last.
    pub span: Span,
}

/// The forms of a [`Statement`].
#[derive(Clone, Debug)]
pub enum StatementKind {
    /// A layer, a block use or a use of a shared instance: resolve tells them apart by name.
    Call(Call),
    /// The input plus the body's output; `project` is applied to the input on its way to the sum.
    Skip {
        /// The residual branch.
        body: Body,
        /// The other branch, the identity when absent.
        project: Option<Body>,
    },
    /// Several arms on the same input, joined by the layer that `join` names (`add` or `concat`).
    Branch {
        /// The joining layer's name.
        join: Ident,
        /// The arms.
        arms: Vec<Body>,
    },
    /// The body, `count` times.
    Repeat {
        /// How often.
        count: Expr,
        /// One set of weights for all iterations, and where it says so.
        tied: Option<Span>,
        /// A template expanded `count` times, and where it says so.
        unrolled: Option<Span>,
        /// What is repeated.
        body: Body,
    },
    /// Go on from a named value instead of the one before.
    From(Ident),
    /// A statement that could not be read; it was reported, and nothing is said of what follows from it.
    Missing,
}

/// `name(args)`, or a bare `name`.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is called.
    pub name: Ident,
    /// The arguments, in the order written. `3 -> 8` is read as an argument named `in` and a positional one.
    pub args: Vec<Arg>,
    /// The whole of it.
    pub span: Span,
}

/// An argument.
#[derive(Clone, Debug)]
pub struct Arg {
    /// Its name, when written. `in` of an arrow has the span of its value.
    pub name: Option<Ident>,
    /// Its value.
    pub value: Expr,
}

/// A value as written.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// The forms of an [`Expr`]. Sums and products are flat lists, so that a long chain is not a deep tree.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// What could not be read; it was reported.
    Missing,
    /// `42`.
    Int(i64),
    /// `3e-3`, `0.5`.
    Float(f64),
    /// `"text"`.
    Text(String),
    /// A bare word: a parameter or a word, by the argument's kind.
    Word(String),
    /// `my_crate::Swish`: a type of Rust's.
    Path(String),
    /// `-x`.
    Negative(Box<Expr>),
    /// `a + b - c`: the operators stand before their operands.
    Sum(Box<Expr>, Vec<(Add, Expr)>),
    /// `a * b / c`.
    Product(Box<Expr>, Vec<(Mul, Expr)>),
    /// `[a, b]`.
    List(Vec<Expr>),
    /// `kaiming_normal(relu, mode = fan_out)`.
    Call(Call),
}

/// An operator of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Add {
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// An operator of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mul {
    /// `*`
    Times,
    /// `/`, which must divide exactly.
    Over,
}

/// `train Name { … }`.
#[derive(Clone, Debug)]
pub struct Train {
    /// The model it trains; YAML, which holds one model, does not name it.
    pub model: Option<Ident>,
    /// `batch 64;`, `loss cross_entropy;`, `data cifar10(…);` in order.
    pub settings: Vec<Setting>,
    /// The word `train`.
    pub head: Span,
}

/// One setting of a training.
#[derive(Clone, Debug)]
pub struct Setting {
    /// `batch`, `loss`, …
    pub key: Ident,
    /// Its value; `cifar10(…)` is a call, a bare `cross_entropy` a word.
    pub value: Expr,
}
