//! `.netspec` text to AST, by the grammar in `netspec.pest`; also the values of YAML.

mod errors;

use std::ops::Range;

use pest::Parser;
use pest::iterators::{Pair, Pairs};

use super::{brackets, limit_params};
use crate::ast::*;
use crate::diag::{Code, Diagnostic};
use crate::limits;
use crate::source::{FileId, Span};

/// The parser that pest derives; its rules are the reader's own.
mod grammar {
    #![allow(missing_docs)]
    #[derive(pest_derive::Parser)]
    #[grammar = "read/netspec.pest"]
    pub(super) struct Grammar;
}
pub(super) use errors::NAME_RULE;
use errors::mistyped;
use grammar::{Grammar, Rule};

/// Reads a `.netspec` text, which must hold a model if it is the `main` one. What cannot be read is reported and left out.
pub(super) fn read(text: &str, file: FileId, is_main: bool, diagnostics: &mut Vec<Diagnostic>) -> Spec {
    let whole = Span::new(file, 0..text.len());
    if let Err(problem) = brackets::check(text, whole, brackets::Limits::Statements) {
        diagnostics.push(*problem);
        return Spec::default();
    }
    let mut reader = Reader { file, base: 0, blanks: brackets::blanks(text), diagnostics };
    let mut spec = Spec::default();
    match Grammar::parse(Rule::file, text) {
        Ok(mut pairs) => reader.spec(pairs.next(), &mut spec),
        Err(error) => {
            let problem = reader.expected(text, 0, error);
            reader.report(problem);
        }
    }
    if is_main && spec.model.is_none() && reader.diagnostics.is_empty() {
        reader.report(no_model(whole));
    }
    spec
}

/// The error for a text without a model.
fn no_model(whole: Span) -> Diagnostic {
    Diagnostic::new(Code::N0111, "there is no model here", whole.before(), "")
        .note("a spec holds one: `model Net { input image [3, 32, 32]; … }`")
}

/// Reads the value of a YAML scalar, the text of `span`: `8*8*n`, `3e-3`, `kaiming_normal(relu)`, or `512 -> 32`, which gives an
/// argument named `in` and a positional one. None when it was reported.
pub(super) fn value(text: &str, span: Span, diagnostics: &mut Vec<Diagnostic>) -> Option<Vec<Arg>> {
    if let Err(problem) = brackets::check(text, span, brackets::Limits::Nesting) {
        diagnostics.push(*problem);
        return None;
    }
    let blanks = brackets::blanks(text);
    let mut reader = Reader { file: span.file, base: span.start as usize, blanks, diagnostics };
    let before = reader.diagnostics.len();
    match Grammar::parse(Rule::one_value, text) {
        Ok(mut pairs) => {
            let positional = pairs.next()?.into_inner().next()?;
            let args = reader.positional(positional);
            (reader.diagnostics.len() == before).then_some(args)
        }
        Err(error) => {
            let problem = reader.expected(text, 0, error);
            reader.report(problem);
            None
        }
    }
}

/// The words that begin statements and so cannot name layers or blocks.
pub(crate) const RESERVED: &[&str] = &[
    "block", "model", "train", "use", "input", "output", "shared", "skip", "project", "branch", "repeat", "tied",
    "unrolled", "from", "as",
];

/// The words that begin a statement, and what else a slip of the pen may have meant to stand behind one.
const STATEMENT_WORDS: &[&str] = &["input", "output", "shared", "skip", "project", "branch", "repeat", "from"];
/// The words that begin an item of the file.
const ITEM_WORDS: &[&str] = &["use", "block", "model", "train"];

struct Reader<'a> {
    file: FileId,
    /// Where the parsed text begins in the file.
    base: usize,
    /// White space and comments of the parsed text, in order.
    blanks: Vec<Range<usize>>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

/// What may stand in a body besides statements, by where the body is.
struct Place<'a> {
    inputs: Option<&'a mut Vec<Input>>,
    outputs: Option<&'a mut Vec<Ident>>,
    shared: Option<&'a mut Vec<Shared>>,
}

impl Reader<'_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() < limits::SYNTAX_ERRORS {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Where a pair stands, without the white space and the comments behind it: a rule that ends in something optional takes
    /// them too.
    fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let (start, mut end) = (pair.as_span().start(), pair.as_span().end());
        let behind = self.blanks.partition_point(|blank| blank.start < end);
        if let Some(blank) = behind.checked_sub(1).map(|last| &self.blanks[last])
            && blank.end >= end
        {
            end = blank.start.max(start);
        }
        Span::new(self.file, self.base + start..self.base + end)
    }

    fn ident(&self, pair: &Pair<'_, Rule>) -> Ident {
        Ident { text: pair.as_str().to_owned(), span: self.span(pair) }
    }

    fn spec(&mut self, file: Option<Pair<'_, Rule>>, spec: &mut Spec) {
        for item in file.into_iter().flat_map(Pair::into_inner) {
            match item.as_rule() {
                Rule::used => {
                    let path = item.into_inner().find(|part| part.as_rule() == Rule::text);
                    spec.uses.extend(path.map(|path| Use {
                        path: unescape(path.as_str()),
                        span: self.span(&path),
                        file: None,
                    }));
                }
                Rule::block => spec.blocks.push(self.block(item)),
                Rule::model => {
                    let model = self.model(item);
                    match &spec.model {
                        None => spec.model = Some(model),
                        Some(first) => {
                            let problem = Diagnostic::new(
                                Code::N0206,
                                "a second model: a source holds one",
                                model.name.span,
                                "the second",
                            )
                            .label(first.name.span, "the first");
                            self.report(problem);
                        }
                    }
                }
                Rule::train => {
                    let train = self.train(item);
                    match &spec.train {
                        None => spec.train = Some(train),
                        Some(first) => {
                            let problem =
                                Diagnostic::new(Code::N0105, "a second `train` section", train.head, "the second")
                                    .label(first.head, "the first");
                            self.report(problem);
                        }
                    }
                }
                Rule::junk_item => self.junk(item, Rule::one_item),
                _ => {}
            }
        }
    }

    /// `name`, then `params`, from the parts of a block or model.
    fn head(&mut self, parts: &mut Pairs<'_, Rule>) -> (Ident, Vec<Param>) {
        let mut name = None;
        while let Some(part) = parts.peek() {
            match part.as_rule() {
                Rule::name => name = Some(self.ident(&part)),
                Rule::params => {
                    parts.next();
                    let mut params: Vec<Param> = part
                        .into_inner()
                        .filter(|part| part.as_rule() == Rule::param)
                        .map(|param| self.param(param))
                        .collect();
                    if let Some(problem) = limit_params(&mut params) {
                        self.report(problem);
                    }
                    return (name.unwrap_or_else(|| self.nameless()), params);
                }
                Rule::body => break,
                _ => {}
            }
            parts.next();
        }
        (name.unwrap_or_else(|| self.nameless()), Vec::new())
    }

    /// A name that the grammar always gives; kept total so that no text can panic the reader.
    fn nameless(&self) -> Ident {
        Ident { text: String::new(), span: Span::new(self.file, 0..0) }
    }

    fn param(&mut self, pair: Pair<'_, Rule>) -> Param {
        let mut name = self.nameless();
        let mut default = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = self.ident(&part),
                Rule::value => default = Some(self.value(part)),
                _ => {}
            }
        }
        Param { name, default }
    }

    fn block(&mut self, pair: Pair<'_, Rule>) -> Block {
        let span = self.span(&pair);
        let mut parts = pair.into_inner();
        let (name, params) = self.head(&mut parts);
        let mut shared = Vec::new();
        let mut place = Place { inputs: None, outputs: None, shared: Some(&mut shared) };
        let mut body = self.body_of(parts, span, &mut place);
        if body.statements.is_empty() {
            let owner = format!("the block `{}`", name.text);
            self.empty(&owner, &mut body);
        }
        Block { name, params, shared, body }
    }

    fn model(&mut self, pair: Pair<'_, Rule>) -> Model {
        let span = self.span(&pair);
        let mut parts = pair.into_inner();
        let (name, params) = self.head(&mut parts);
        let (mut inputs, mut outputs, mut shared) = (Vec::new(), Vec::new(), Vec::new());
        let mut place = Place { inputs: Some(&mut inputs), outputs: Some(&mut outputs), shared: Some(&mut shared) };
        let mut body = self.body_of(parts, span, &mut place);
        if body.statements.is_empty() {
            let title = format!("`{}` has no layers", name.text);
            let problem = Diagnostic::new(Code::N0114, title, name.span, "no layer stands in it");
            self.report(problem.note("write some, as in `flatten; linear(10);`"));
            body.statements.push(missing(span.after()));
        }
        Model { name, params, inputs, shared, body, outputs }
    }

    /// The first body among `parts`; the grammar always gives one.
    fn body_of(&mut self, parts: Pairs<'_, Rule>, span: Span, place: &mut Place<'_>) -> Body {
        for part in parts {
            if part.as_rule() == Rule::body {
                return self.body(part, place);
            }
        }
        Body { statements: Vec::new(), span }
    }

    /// The body of what `owner` names, in which only layers stand.
    fn inner_body(&mut self, pair: Pair<'_, Rule>, owner: &str) -> Body {
        let mut body = self.body(pair, &mut Place { inputs: None, outputs: None, shared: None });
        if body.statements.is_empty() {
            self.empty(owner, &mut body);
        }
        body
    }

    /// Reports a body without layers.
    fn empty(&mut self, owner: &str, body: &mut Body) {
        let problem = Diagnostic::new(Code::N0114, format!("{owner} has no layers"), body.span, "no layer stands here");
        self.report(problem.fix("write `identity` where nothing shall change", body.span, "{ identity; }"));
        body.statements.push(missing(body.span));
    }

    fn body(&mut self, pair: Pair<'_, Rule>, place: &mut Place<'_>) -> Body {
        let span = self.span(&pair);
        let mut statements = Vec::new();
        let mut parts = pair.into_inner().peekable();
        while let Some(part) = parts.next() {
            let whole = self.span(&part);
            match part.as_rule() {
                Rule::input => self.input(part, place),
                Rule::output => self.output(part, place),
                Rule::shared => self.shared(part, place),
                Rule::layer if self.is_mistyped(&part, parts.peek()) => {
                    // What stands behind the word belongs to it, and was not read.
                    parts.next_if(|next| next.as_rule() == Rule::junk);
                    statements.push(missing(whole));
                }
                Rule::skip | Rule::branch | Rule::repeat | Rule::from | Rule::layer => {
                    let statement = self.statement(part);
                    statements.push(statement);
                }
                Rule::junk => {
                    self.junk(part, Rule::one_statement);
                    statements.push(missing(whole));
                }
                _ => {}
            }
        }
        Body { statements, span }
    }

    /// Whether a bare word with more behind it on its line is a word that begins statements, mistyped; then it was reported.
    fn is_mistyped(&mut self, layer: &Pair<'_, Rule>, next: Option<&Pair<'_, Rule>>) -> bool {
        let parts: Vec<Rule> = layer.clone().into_inner().map(|part| part.as_rule()).collect();
        let word = self.span(layer);
        let next_is_on_its_line = next.is_some_and(|next| !layer.as_str().contains('\n') && next.as_str() != "}");
        let is_bare = parts == [Rule::call, Rule::missing_semicolon] && !layer.as_str().contains('(');
        if !is_bare || !next_is_on_its_line {
            return false;
        }
        let text = layer.as_str().split_whitespace().next().unwrap_or_default();
        let problem = mistyped(text, word, STATEMENT_WORDS);
        let is_mistyped = problem.is_some();
        problem.into_iter().for_each(|problem| self.report(problem));
        is_mistyped
    }

    fn input(&mut self, pair: Pair<'_, Rule>, place: &mut Place<'_>) {
        let span = self.span(&pair);
        let mut name = self.nameless();
        let mut shape = None;
        let mut has_gradient = false;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = self.ident(&part),
                Rule::list => shape = Some(self.list(part)),
                Rule::with_gradient => has_gradient = true,
                _ => {}
            }
        }
        match (&mut place.inputs, shape) {
            (Some(inputs), Some(shape)) => inputs.push(Input { name, shape, has_gradient }),
            _ => self.report(misplaced("input", "in the model itself", span)),
        }
    }

    fn output(&mut self, pair: Pair<'_, Rule>, place: &mut Place<'_>) {
        let span = self.span(&pair);
        let names: Vec<Ident> =
            pair.into_inner().filter(|part| part.as_rule() == Rule::name).map(|name| self.ident(&name)).collect();
        match &mut place.outputs {
            None => self.report(misplaced("output", "in the model itself", span)),
            Some(outputs) if !outputs.is_empty() => {
                let first = outputs[0].span;
                self.report(
                    Diagnostic::new(Code::N0105, "a second `output`", span, "the second")
                        .label(first, "the first")
                        .note("one `output` lists them all: `output logits, features;`"),
                );
            }
            Some(outputs) => outputs.extend(names),
        }
    }

    fn shared(&mut self, pair: Pair<'_, Rule>, place: &mut Place<'_>) {
        let span = self.span(&pair);
        let mut name = self.nameless();
        let mut body = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = self.ident(&part),
                Rule::body => body = Some(self.inner_body(part, &format!("`{}`", name.text))),
                _ => {}
            }
        }
        match (&mut place.shared, body) {
            (Some(shared), Some(body)) => shared.push(Shared { name, body }),
            _ => self.report(misplaced("shared", "directly in a model or block", span)),
        }
    }

    fn statement(&mut self, pair: Pair<'_, Rule>) -> Statement {
        let span = self.span(&pair);
        let rule = pair.as_rule();
        let mut statement = Statement { kind: StatementKind::Missing, name: None, shape: None, head: span, span };
        let (mut bodies, mut names, mut count) = (Vec::new(), Vec::new(), None);
        let (mut tied, mut unrolled) = (None, None);
        for part in pair.into_inner() {
            let place = self.span(&part);
            match part.as_rule() {
                Rule::skip_word | Rule::branch_word | Rule::repeat_word | Rule::from_word => statement.head = place,
                Rule::call => {
                    let call = self.call(part);
                    statement.head = call.name.span;
                    statement.kind = StatementKind::Call(call);
                }
                Rule::name => names.push(self.ident(&part)),
                Rule::value => count = Some(self.value(part)),
                Rule::tied_word => tied = Some(place),
                Rule::unrolled_word => unrolled = Some(place),
                Rule::body => {
                    let owner = match rule {
                        Rule::branch => "an arm",
                        Rule::repeat => "`repeat`",
                        _ if bodies.is_empty() => "`skip`",
                        _ => "`project`",
                    };
                    bodies.push(self.inner_body(part, owner));
                }
                Rule::label => {
                    let name = part.into_inner().find(|part| matches!(part.as_rule(), Rule::name | Rule::place));
                    statement.name = name.map(|name| self.ident(&name));
                }
                Rule::shape => {
                    statement.shape =
                        part.into_inner().find(|part| part.as_rule() == Rule::list).map(|list| self.list(list));
                }
                Rule::missing_semicolon => {
                    let end = span.after();
                    self.report(Diagnostic::new(Code::N0101, "a `;` is missing", end, "expected `;` here").fix(
                        "end the statement",
                        end,
                        ";",
                    ));
                }
                _ => {}
            }
        }
        let first_name = names.into_iter().next();
        match (rule, first_name, count) {
            (Rule::skip, ..) if !bodies.is_empty() => {
                let project = (bodies.len() > 1).then(|| bodies.remove(1));
                statement.kind = StatementKind::Skip { body: bodies.remove(0), project };
            }
            (Rule::branch, Some(join), _) => statement.kind = StatementKind::Branch { join, arms: bodies },
            (Rule::repeat, _, Some(count)) if !bodies.is_empty() => {
                statement.kind = StatementKind::Repeat { count, tied, unrolled, body: bodies.remove(0) };
            }
            (Rule::from, Some(name), _) => statement.kind = StatementKind::From(name),
            _ => {}
        }
        statement
    }

    fn train(&mut self, pair: Pair<'_, Rule>) -> Train {
        let mut train = Train { model: None, settings: Vec::new(), head: self.span(&pair) };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::train_word => train.head = self.span(&part),
                Rule::name => train.model = Some(self.ident(&part)),
                Rule::setting => {
                    let (mut key, mut value) = (None, None);
                    for part in part.into_inner() {
                        match part.as_rule() {
                            Rule::name => key = Some(self.ident(&part)),
                            Rule::value => value = Some(self.value(part)),
                            _ => {}
                        }
                    }
                    if let (Some(key), Some(value)) = (key, value) {
                        train.settings.push(Setting { key, value });
                    }
                }
                Rule::junk => self.junk(part, Rule::one_setting),
                _ => {}
            }
        }
        train
    }

    fn call(&mut self, pair: Pair<'_, Rule>) -> Call {
        let span = self.span(&pair);
        let mut name = self.nameless();
        let mut args = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = self.ident(&part),
                Rule::args => {
                    for part in part.into_inner() {
                        match part.as_rule() {
                            Rule::named => args.push(self.named(part)),
                            Rule::positional => args.extend(self.positional(part)),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Call { name, args, span }
    }

    fn named(&mut self, pair: Pair<'_, Rule>) -> Arg {
        let Param { name, default } = self.param(pair);
        let value = default.unwrap_or(Expr { kind: ExprKind::List(Vec::new()), span: name.span });
        Arg { name: Some(name), value }
    }

    fn positional(&mut self, pair: Pair<'_, Rule>) -> Vec<Arg> {
        let mut values: Vec<Expr> = pair.into_inner().map(|value| self.value(value)).collect();
        let last = values.pop();
        let stated =
            values.pop().map(|value| Arg { name: Some(Ident { text: "in".to_owned(), span: value.span }), value });
        stated.into_iter().chain(last.map(|value| Arg { name: None, value })).collect()
    }

    fn value(&mut self, pair: Pair<'_, Rule>) -> Expr {
        self.chain(
            pair,
            Reader::product,
            |rule| match rule {
                Rule::plus => Some(Add::Plus),
                Rule::minus => Some(Add::Minus),
                _ => None,
            },
            ExprKind::Sum,
        )
    }

    fn product(&mut self, pair: Pair<'_, Rule>) -> Expr {
        self.chain(
            pair,
            Reader::unary,
            |rule| match rule {
                Rule::times => Some(Mul::Times),
                Rule::over => Some(Mul::Over),
                _ => None,
            },
            ExprKind::Product,
        )
    }

    /// `operand (operator operand)*`; a lone operand is itself.
    fn chain<Operator>(
        &mut self,
        pair: Pair<'_, Rule>,
        operand: fn(&mut Self, Pair<'_, Rule>) -> Expr,
        operator: fn(Rule) -> Option<Operator>,
        make: fn(Box<Expr>, Vec<(Operator, Expr)>) -> ExprKind,
    ) -> Expr {
        let span = self.span(&pair);
        let (mut first, mut rest, mut pending) = (None, Vec::new(), None);
        for part in pair.into_inner() {
            match (operator(part.as_rule()), pending.take()) {
                (Some(operator), _) => pending = Some(operator),
                (None, Some(operator)) => rest.push((operator, operand(self, part))),
                (None, None) => first = Some(operand(self, part)),
            }
        }
        match first {
            Some(first) if rest.is_empty() => first,
            Some(first) => Expr { kind: make(Box::new(first), rest), span },
            None => Expr { kind: ExprKind::List(Vec::new()), span },
        }
    }

    fn unary(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        let mut negative = false;
        let mut expr = Expr { kind: ExprKind::List(Vec::new()), span };
        for part in pair.into_inner() {
            let place = self.span(&part);
            match part.as_rule() {
                Rule::negative => negative = true,
                Rule::number => expr = Expr { kind: self.number(part.as_str(), place), span: place },
                Rule::text => {
                    expr = Expr { kind: ExprKind::Text(unescape(part.as_str())), span: place };
                }
                Rule::list => expr = self.list(part),
                Rule::path => {
                    let names: Vec<&str> = part.into_inner().map(|name| name.as_str()).collect();
                    expr = Expr { kind: ExprKind::Path(names.join("::")), span: place };
                }
                Rule::tuple => {
                    let is_list = part.clone().into_inner().any(|part| part.as_rule() == Rule::comma);
                    let mut list = self.list(part);
                    if let ExprKind::List(values) = &mut list.kind
                        && !is_list
                        && let Some(value) = values.pop()
                    {
                        list = value;
                    }
                    expr = list;
                }
                Rule::call => {
                    let has_args = part.clone().into_inner().any(|part| part.as_rule() == Rule::args);
                    let call = self.call(part);
                    let kind = if has_args { ExprKind::Call(call) } else { ExprKind::Word(call.name.text) };
                    expr = Expr { kind, span: place };
                }
                _ => {}
            }
        }
        if negative {
            expr = Expr { kind: ExprKind::Negative(Box::new(expr)), span };
        }
        expr
    }

    fn list(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        let values =
            pair.into_inner().filter(|part| part.as_rule() == Rule::value).map(|value| self.value(value)).collect();
        Expr { kind: ExprKind::List(values), span }
    }

    fn number(&mut self, text: &str, span: Span) -> ExprKind {
        let is_integer = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = match is_integer {
            true => text.parse().ok().map(ExprKind::Int),
            false => text.parse().ok().filter(|number: &f64| number.is_finite()).map(ExprKind::Float),
        };
        number.unwrap_or_else(|| {
            let label = if is_integer { format!("has {} digits", text.len()) } else { "too large".to_owned() };
            let problem = Diagnostic::new(Code::N0109, "a number that does not fit 64 bits", span, label);
            self.report(match is_integer {
                true => problem.note(format!("the largest is {}", i64::MAX)),
                false => problem,
            });
            ExprKind::Missing
        })
    }
}

/// A statement that was reported.
fn missing(span: Span) -> Statement {
    Statement { kind: StatementKind::Missing, name: None, shape: None, head: span, span }
}

fn misplaced(what: &str, where_it_belongs: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::N0101, format!("`{what}` cannot stand here"), span, format!("it belongs {where_it_belongs}"))
}

/// The text between quotes, with `\n`, `\t`, `\\` and `\"` read.
fn unescape(quoted: &str) -> String {
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(quoted);
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    text
}
