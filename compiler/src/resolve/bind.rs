//! Arguments to the op table's declarations: every value has the kind and range declared, and defaults are filled in.

use super::{Resolver, Scope};
use crate::ast::{Arg, Expr, ExprKind, Ident};
use crate::diag::{Code, Diagnostic, did_you_mean};
use crate::ops::initialisers::{self, INITIALISERS};
use crate::ops::{self, Args, Bound, Choice, Decl, Default, Int, Kind, NumberRange, Value, plural};
use crate::source::Span;

/// What is bound, for the words of an error.
struct Wanted<'a> {
    /// The argument.
    arg: &'static ops::Arg,
    /// What it is an argument of, as written.
    of: &'a str,
    /// The code of a value out of range: a layer's or a training's.
    range: Code,
}

impl<'a> Resolver<'a> {
    /// Binds the arguments of a call of `decl`, which the user wrote as `name`. None when anything was reported.
    pub(super) fn bind(
        &mut self,
        decl: &'static Decl,
        name: &Ident,
        args: &'a [Arg],
        scope: &mut Scope<'a>,
        range: Code,
    ) -> Option<Args> {
        if let [ops::Arg { kind: Kind::Sizes, .. }] = decl.args {
            return self.bind_sizes(decl, name, args, scope);
        }
        let mut given: Vec<Option<(&'a Expr, Span)>> = vec![None; decl.args.len()];
        let mut complete = true;
        // `3 -> 8` is `in` and the first argument; so `in` does not count as a position.
        let first_by_position = args.iter().position(|arg| arg.name.is_none());
        for (place, arg) in args.iter().enumerate() {
            self.count_argument(arg.value.span)?;
            let index = match &arg.name {
                Some(arg_name) => decl.args.iter().position(|declared| declared.name == arg_name.text),
                None if first_by_position == Some(place) && !decl.args.is_empty() => Some(0),
                None => None,
            };
            let Some(index) = index else {
                complete = false;
                let names: Vec<&str> = decl.args.iter().map(|arg| arg.name).collect();
                self.report(no_such_argument(&name.text, arg, &names));
                continue;
            };
            if let Some((_, first)) = given[index] {
                complete = false;
                self.report(given_twice(&name.text, decl.args[index].name, arg, first));
                continue;
            }
            given[index] = Some((&arg.value, arg.value.span));
        }
        let all_known = complete;
        let mut bound = Vec::new();
        for (arg, given) in decl.args.iter().zip(given) {
            let wanted = Wanted { arg, of: &name.text, range };
            let value = match (given, arg.default) {
                (Some((expr, _)), _) => self.bind_value(&wanted, expr, scope),
                (None, Default::Required) => {
                    // With an unknown argument beside it, the missing one is likely that, misspelled.
                    if all_known {
                        let title = format!("`{}` needs `{}`", name.text, arg.name);
                        let label = format!("no `{}` given: {}", arg.name, arg.docs);
                        self.report(Diagnostic::new(Code::N0203, title, name.span, label));
                    }
                    None
                }
                (None, Default::Absent) => continue,
                (None, Default::Int(value)) => Some(Value::Int(Int { value, span: name.span, how: None })),
                (None, Default::Number(number)) => Some(Value::Number(number)),
                (None, Default::Bool(value)) => Some(Value::Bool(value)),
                (None, Default::Word(word)) => Some(Value::Word(word.to_owned())),
            };
            match value {
                Some(value) => bound.push(Bound { name: arg.name, value, span: given.map(|(_, span)| span) }),
                None => complete = false,
            }
        }
        complete.then_some(Args(bound))
    }

    /// The arguments of a view: all by position, integers that its shape rule looks at.
    fn bind_sizes(
        &mut self,
        decl: &'static Decl,
        name: &Ident,
        args: &'a [Arg],
        scope: &mut Scope<'a>,
    ) -> Option<Args> {
        for arg in args.iter().filter(|arg| arg.name.is_some()) {
            self.report(no_such_argument(&name.text, arg, &[]));
        }
        let exprs: Vec<&Expr> = unpacked(args).collect();
        for expr in &exprs {
            self.count_argument(expr.span)?;
        }
        self.check_dimensions(exprs.len().saturating_sub(1), name.span)?;
        let mut sizes = Vec::new();
        for expr in exprs {
            sizes.push(self.int_of_at_least(expr, i64::MIN, scope, "a size"));
        }
        let sizes: Vec<Int> = sizes.into_iter().collect::<Option<_>>()?;
        Some(Args(vec![Bound { name: decl.args[0].name, value: Value::Ints(sizes), span: Some(name.span) }]))
    }

    fn bind_value(&mut self, wanted: &Wanted<'_>, expr: &'a Expr, scope: &mut Scope<'a>) -> Option<Value> {
        let what = format!("`{}` of `{}`", wanted.arg.name, wanted.of);
        match (&wanted.arg.kind, &expr.kind) {
            (Kind::PerAxis(least), ExprKind::List(items)) => {
                if items.is_empty() {
                    self.wrong_kind(wanted, expr, "an integer or a list of them");
                    return None;
                }
                let ints: Vec<Option<Int>> =
                    items.iter().map(|item| self.int_of_at_least(item, *least, scope, &what)).collect();
                Some(Value::Ints(ints.into_iter().collect::<Option<_>>()?))
            }
            (Kind::Integer(least) | Kind::PerAxis(least), kind) => {
                if !is_arithmetic(kind) {
                    let words = if matches!(wanted.arg.kind, Kind::PerAxis(_)) {
                        "an integer or a list of them"
                    } else {
                        "an integer"
                    };
                    self.wrong_kind(wanted, expr, words);
                    return None;
                }
                self.int_of_at_least(expr, *least, scope, &what).map(Value::Int)
            }
            (Kind::Number(range), _) => self.number(wanted, range, expr, scope).map(Value::Number),
            (Kind::Numbers(range), ExprKind::List(items)) => {
                let numbers: Vec<Option<f64>> =
                    items.iter().map(|item| self.number(wanted, range, item, scope)).collect();
                Some(Value::Numbers(numbers.into_iter().collect::<Option<_>>()?))
            }
            (Kind::Bool, ExprKind::Word(word)) if word == "true" || word == "false" => {
                Some(Value::Bool(word == "true"))
            }
            (Kind::Word(words), ExprKind::Word(word)) => self.word(wanted, words, word, expr.span).map(Value::Word),
            (Kind::Words(words), ExprKind::List(items)) => self.words(wanted, words, expr, items),
            (Kind::Text, ExprKind::Text(text)) => Some(Value::Text(text.clone())),
            (Kind::Init | Kind::VectorInit, _) => self.initialiser(wanted, expr, scope).map(Value::Init),
            (kind, _) => {
                let words = match kind {
                    Kind::Numbers(_) => "a list of numbers",
                    Kind::Bool => "true or false",
                    Kind::Word(_) => "a word",
                    Kind::Words(_) => "a list of words",
                    Kind::Text => "a text in quotes",
                    _ => "something else",
                };
                self.wrong_kind(wanted, expr, words);
                None
            }
        }
    }

    fn wrong_kind(&mut self, wanted: &Wanted<'_>, expr: &Expr, words: &str) {
        let title = format!("`{}` of `{}` takes {words}, not {}", wanted.arg.name, wanted.of, described(expr));
        self.report(Diagnostic::new(Code::N0204, title, expr.span, format!("wanted: {words}")));
    }

    /// A number: a float, or integer arithmetic.
    fn number(&mut self, wanted: &Wanted<'_>, range: &NumberRange, expr: &Expr, scope: &mut Scope<'a>) -> Option<f64> {
        self.count_argument(expr.span)?;
        let number = match &expr.kind {
            ExprKind::Float(number) => *number,
            ExprKind::Negative(inner) if matches!(inner.kind, ExprKind::Float(_)) => match inner.kind {
                ExprKind::Float(number) => -number,
                _ => 0.0,
            },
            kind if is_arithmetic(kind) => self.int(expr, scope)?.value as f64,
            _ => {
                self.wrong_kind(wanted, expr, "a number");
                return None;
            }
        };
        if !(range.holds)(number) {
            let title = format!("`{}` of `{}` is {number}", wanted.arg.name, wanted.of);
            let label = format!("must be {}", range.words);
            self.report(Diagnostic::new(wanted.range, title, expr.span, label));
            return None;
        }
        Some(number)
    }

    fn word(&mut self, wanted: &Wanted<'_>, words: &[&'static str], word: &str, span: Span) -> Option<String> {
        if words.contains(&word) {
            return Some(word.to_owned());
        }
        let title = format!("`{}` of `{}` cannot be `{word}`", wanted.arg.name, wanted.of);
        let label = did_you_mean(word, words.iter().copied(), "not one of its words");
        let problem = Diagnostic::new(Code::N0204, title, span, label);
        self.report(match words.len() {
            0..=12 => problem.note(format!("its words: {}", words.join(", "))),
            _ => problem,
        });
        None
    }

    /// A list of words of a fixed set, none twice.
    fn words(&mut self, wanted: &Wanted<'_>, words: &[&'static str], list: &Expr, items: &[Expr]) -> Option<Value> {
        let mut idents: Vec<Ident> = Vec::new();
        let mut complete = true;
        for item in items {
            self.count_argument(item.span)?;
            let ExprKind::Word(word) = &item.kind else {
                self.wrong_kind(wanted, item, "a list of words");
                return None;
            };
            if let Some(first) = idents.iter().find(|ident| ident.text == *word) {
                let title = format!("`{word}` stands twice in `{}`", wanted.arg.name);
                let problem =
                    Diagnostic::new(Code::N0206, title, item.span, "the second").label(first.span, "the first");
                self.report(problem);
                complete = false;
            } else if self.word(wanted, words, word, item.span).is_some() {
                idents.push(Ident { text: word.clone(), span: item.span });
            } else {
                complete = false;
            }
        }
        if items.is_empty() {
            self.wrong_kind(wanted, list, "a list of at least one word");
            return None;
        }
        complete.then_some(Value::Words(idents))
    }

    fn initialiser(&mut self, wanted: &Wanted<'_>, expr: &'a Expr, scope: &mut Scope<'a>) -> Option<Choice> {
        let is_number = match &expr.kind {
            ExprKind::Word(word) => scope.ints.contains_key(word.as_str()),
            kind => is_arithmetic(kind) || matches!(kind, ExprKind::Float(_)),
        };
        if is_number {
            let number = self.number(wanted, &NumberRange::ANY, expr, scope)?;
            let value = Bound { name: "value", value: Value::Number(number), span: Some(expr.span) };
            return Some(Choice { decl: initialisers::constant(), args: Args(vec![value]), span: expr.span });
        }
        let choice = self.choice("initialiser", INITIALISERS.iter(), Code::N0402, Code::N0211, expr, scope)?;
        if matches!(wanted.arg.kind, Kind::VectorInit) && initialisers::needs_fans(choice.decl) {
            let title = format!("`{}` cannot fill `{}` of `{}`", choice.decl.name, wanted.arg.name, wanted.of);
            let label = "needs a weight's fan in and fan out, which a vector does not have";
            self.report(Diagnostic::new(Code::N0402, title, expr.span, label));
            return None;
        }
        Some(choice)
    }

    /// A word or call that names one of a table: a loss, an optimizer, a data set, an initialiser.
    pub(super) fn choice(
        &mut self,
        noun: &str,
        table: impl Iterator<Item = &'static Decl> + Clone,
        unknown: Code,
        range: Code,
        expr: &'a Expr,
        scope: &mut Scope<'a>,
    ) -> Option<Choice> {
        let (name, args): (Ident, &'a [Arg]) = match &expr.kind {
            ExprKind::Word(word) => (Ident { text: word.clone(), span: expr.span }, &[]),
            ExprKind::Call(call) => (call.name.clone(), &call.args),
            _ => {
                let title = format!("{} names no {noun}", described(expr));
                self.report(Diagnostic::new(Code::N0204, title, expr.span, format!("the name of a {noun} is wanted")));
                return None;
            }
        };
        let Some(decl) = table.clone().find(|decl| decl.name == name.text) else {
            let names: Vec<&str> = table.map(|decl| decl.name).collect();
            let label = did_you_mean(&name.text, names.iter().copied(), &format!("no {noun} has this name"));
            let title = format!("unknown {noun} `{}`", name.text);
            self.report(
                Diagnostic::new(unknown, title, name.span, label).note(format!("there are: {}", names.join(", "))),
            );
            return None;
        };
        let args = self.bind(decl, &name, args, scope, range)?;
        Some(Choice { decl, args, span: expr.span })
    }
}

/// The values of arguments that are all by position; one list stands for its items, as YAML gives them.
pub(super) fn unpacked(args: &[Arg]) -> impl Iterator<Item = &Expr> {
    let exprs: &[Arg] = args;
    let list = match exprs {
        [Arg { name: None, value: Expr { kind: ExprKind::List(items), .. } }] => Some(items),
        _ => None,
    };
    let by_position = exprs.iter().filter(|arg| arg.name.is_none()).map(|arg| &arg.value);
    list.into_iter().flatten().chain(by_position.filter(move |_| list.is_none()))
}

/// Whether an expression can have an integer value.
fn is_arithmetic(kind: &ExprKind) -> bool {
    match kind {
        ExprKind::Int(_) | ExprKind::Word(_) | ExprKind::Sum(..) | ExprKind::Product(..) => true,
        ExprKind::Negative(inner) => is_arithmetic(&inner.kind),
        _ => false,
    }
}

/// What a value is, for an error.
pub(super) fn described(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Int(value) => value.to_string(),
        ExprKind::Float(number) => format!("the number {number}"),
        ExprKind::Text(text) => format!("the text {text:?}"),
        ExprKind::Word(word) => format!("`{word}`"),
        ExprKind::Negative(_) | ExprKind::Sum(..) | ExprKind::Product(..) => "arithmetic".to_owned(),
        ExprKind::List(_) => "a list".to_owned(),
        ExprKind::Call(call) => format!("`{}(…)`", call.name.text),
    }
}

/// An argument that `of` does not have, by name or by position.
pub(super) fn no_such_argument(of: &str, arg: &Arg, names: &[&str]) -> Diagnostic {
    let all = match names {
        [] => format!("`{of}` takes no named arguments"),
        names => format!("its argument{}: {}", plural(names.len()), names.join(", ")),
    };
    match &arg.name {
        Some(name) => {
            let label = did_you_mean(&name.text, names.iter().copied(), "no such argument");
            Diagnostic::new(Code::N0202, format!("`{of}` has no argument `{}`", name.text), name.span, label).note(all)
        }
        None if names.is_empty() => {
            let title = format!("`{of}` takes no arguments");
            Diagnostic::new(Code::N0210, title, arg.value.span, "one argument too many")
        }
        None => {
            let title = format!("only the first argument of `{of}` is given by position");
            Diagnostic::new(Code::N0210, title, arg.value.span, "name this one: `name = value`").note(all)
        }
    }
}

/// An argument that is given twice.
pub(super) fn given_twice(of: &str, name: &str, arg: &Arg, first: Span) -> Diagnostic {
    let title = format!("`{name}` of `{of}` is given twice");
    Diagnostic::new(Code::N0209, title, arg.value.span, "the second").label(first, "the first")
}
