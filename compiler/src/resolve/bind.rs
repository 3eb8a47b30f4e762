//! Arguments to the op table's declarations: every value has the kind and range declared, and defaults are filled in.

use super::declare::KEYWORDS;
use super::{Resolver, Scope};
use crate::ast::{Arg, Call, Expr, ExprKind, Ident};
use std::collections::HashMap;

use crate::diag::{Code, Diagnostic, Edit, Fix, nearest};
use crate::ops::initialisers::{self, INITIALISERS};
use crate::ops::{self, Args, Bound, Choice, Decl, Default, Int, Kind, NumberRange, OwnWeight, Value, custom, plural};
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
        let (args, complete) = self.bind_all(decl, name, args, scope, range);
        complete.then_some(args)
    }

    /// As [`Resolver::bind`], with what could be bound and whether that is all of it.
    fn bind_all(
        &mut self,
        decl: &'static Decl,
        name: &Ident,
        args: &'a [Arg],
        scope: &mut Scope<'a>,
        range: Code,
    ) -> (Args, bool) {
        if let [ops::Arg { kind: Kind::Sizes, .. }] = decl.args {
            let args = self.bind_sizes(decl, name, args, scope);
            return (args.clone().unwrap_or_default(), args.is_some());
        }
        let mut given: Vec<Option<(&'a Expr, Span)>> = vec![None; decl.args.len()];
        let mut complete = true;
        let names: Vec<&str> = decl.args.iter().map(|arg| arg.name).collect();
        // `3 -> 8` is `in` and the first argument; so `in` does not count as a position.
        let first_by_position = args.iter().position(|arg| arg.name.is_none());
        for (place, arg) in args.iter().enumerate() {
            if self.count_argument(arg.value.span).is_none() {
                return (Args::default(), false);
            }
            let index = match &arg.name {
                Some(arg_name) => names.iter().position(|declared| *declared == arg_name.text),
                None if first_by_position == Some(place) && !names.is_empty() => Some(0),
                None => None,
            };
            if let Some(index) = index {
                if let Some((_, first)) = given[index] {
                    complete = false;
                    self.report(given_twice(&name.text, names[index], arg, first));
                    continue;
                }
                given[index] = Some((&arg.value, arg.value.span));
                continue;
            }
            complete = false;
            let meant = arg.name.as_ref().and_then(|arg_name| meant(&arg_name.text, &names));
            match (&arg.name, meant.and_then(|meant| names.iter().position(|name| *name == meant))) {
                (Some(_), Some(index)) if given[index].is_none() => given[index] = Some((&arg.value, arg.value.span)),
                _ => self.touch(&arg.value, &scope.ints),
            }
            if let Some(arg_name) = &arg.name {
                self.report(no_such_argument(&name.text, arg_name, &names));
            }
        }
        if let Some(problem) = surplus(&name.text, args, &names, range != Code::N0502, &self.fixes) {
            self.report(problem);
        }
        let all_known = complete;
        let mut bound = Vec::new();
        for (arg, given) in decl.args.iter().zip(given) {
            let wanted = Wanted { arg, of: &name.text, range };
            let before = self.reports;
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
            complete &= value.is_some() && self.reports == before;
            let value = value.unwrap_or(Value::Missing);
            bound.push(Bound { name: arg.name, value, span: given.map(|(_, span)| span) });
        }
        (Args(bound), complete)
    }

    /// Notes that the parameters in an expression are read, when it is of no use otherwise.
    pub(super) fn touch(&mut self, expr: &Expr, ints: &HashMap<&'a str, (Option<i64>, Span)>) {
        match &expr.kind {
            ExprKind::Word(word) => {
                if let Some((_, declared)) = ints.get(word.as_str()) {
                    self.used_params.insert(*declared);
                }
            }
            ExprKind::Negative(inner) => self.touch(inner, ints),
            ExprKind::Sum(first, rest) => {
                self.touch(first, ints);
                rest.iter().for_each(|(_, expr)| self.touch(expr, ints));
            }
            ExprKind::Product(first, rest) => {
                self.touch(first, ints);
                rest.iter().for_each(|(_, expr)| self.touch(expr, ints));
            }
            ExprKind::List(items) => items.iter().for_each(|expr| self.touch(expr, ints)),
            ExprKind::Call(call) => call.args.iter().for_each(|arg| self.touch(&arg.value, ints)),
            ExprKind::Missing | ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Text(_) | ExprKind::Path(_) => {}
        }
    }

    /// The arguments of a view: all by position, integers that its shape rule looks at.
    fn bind_sizes(
        &mut self,
        decl: &'static Decl,
        name: &Ident,
        args: &'a [Arg],
        scope: &mut Scope<'a>,
    ) -> Option<Args> {
        for arg_name in args.iter().filter_map(|arg| arg.name.as_ref()) {
            self.report(no_such_argument(&name.text, arg_name, &[]));
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
            (Kind::PerAxis(least) | Kind::PerAxisOr(least, _), ExprKind::List(items)) => {
                if items.is_empty() {
                    self.wrong_kind(wanted, expr, "an integer or a list of them");
                    return None;
                }
                let ints: Vec<Option<Int>> =
                    items.iter().map(|item| self.int_of_at_least(item, *least, scope, &what)).collect();
                Some(Value::Ints(ints.into_iter().collect::<Option<_>>()?))
            }
            // A parameter of the name, or nearly of it, is meant sooner than a word.
            (Kind::PerAxisOr(_, words), ExprKind::Word(word))
                if words.contains(&word.as_str()) && !scope.ints.contains_key(word.as_str()) =>
            {
                Some(Value::Word(word.clone()))
            }
            (Kind::PerAxisOr(_, words), ExprKind::Word(word))
                if !scope.ints.contains_key(word.as_str()) && nearest(word, scope.ints.keys().copied()).is_none() =>
            {
                let title = format!("`{}` of `{}` cannot be `{word}`", wanted.arg.name, wanted.of);
                let near = nearest(word, words.iter().copied());
                let label = "no parameter, and none of its words";
                let takes = || format!("it is a number, one for each axis, or a word: {}", words.join(", "));
                self.report(Diagnostic::meant(Code::N0204, title, expr.span, near, label).note_without_fix(takes));
                None
            }
            (Kind::Integer(least) | Kind::PerAxis(least) | Kind::PerAxisOr(least, _), kind) => {
                if !is_arithmetic(kind) {
                    let words = match &wanted.arg.kind {
                        Kind::PerAxis(_) => "an integer or a list of them".to_owned(),
                        Kind::PerAxisOr(_, words) => format!("an integer, a list of them, or {}", words.join(" or ")),
                        _ => "an integer".to_owned(),
                    };
                    self.wrong_kind(wanted, expr, &words);
                    return None;
                }
                if let ExprKind::Word(word) = kind
                    && !scope.ints.contains_key(word.as_str())
                    && nearest(word, scope.ints.keys().copied()).is_none()
                {
                    self.no_integer(wanted, expr, word);
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
            (Kind::Table, ExprKind::List(_)) => {
                let (mut shape, mut numbers) = (Vec::new(), Vec::new());
                self.table(wanted, expr, scope, 0, &mut shape, &mut numbers)?;
                Some(Value::Table(shape, numbers))
            }
            (Kind::Bool, ExprKind::Word(word)) if word == "true" || word == "false" => {
                Some(Value::Bool(word == "true"))
            }
            (Kind::Word(words), ExprKind::Word(word)) => self.word(wanted, words, word, expr.span).map(Value::Word),
            (Kind::Words(words), ExprKind::List(items)) => self.words(wanted, words, expr, items),
            (Kind::Output, ExprKind::Word(word)) => Some(Value::Word(word.clone())),
            (Kind::Type, ExprKind::Word(path) | ExprKind::Path(path)) => {
                let keyword = path.split("::").find(|part| KEYWORDS.contains(part) && !OF_PATHS.contains(part));
                if let Some(keyword) = keyword {
                    let title = format!("`{path}` is no path of a type");
                    let label = format!("`{keyword}` is a word of Rust");
                    self.report(Diagnostic::new(Code::N0204, title, expr.span, label));
                    return None;
                }
                Some(Value::Type(path.clone()))
            }
            (Kind::OwnWeights, ExprKind::Call(call)) => {
                Some(Value::OwnWeights(self.own_weights(wanted, std::slice::from_ref(call).iter(), scope)?))
            }
            (Kind::OwnWeights, ExprKind::List(items)) => {
                let mut calls = Vec::new();
                for item in items {
                    let ExprKind::Call(call) = &item.kind else {
                        self.wrong_kind(wanted, item, OWN_WEIGHTS);
                        return None;
                    };
                    calls.push(call);
                }
                Some(Value::OwnWeights(self.own_weights(wanted, calls.into_iter(), scope)?))
            }
            (Kind::Names, _) => {
                let names = self.layer_names(&what, expr);
                (!names.is_empty()).then_some(Value::Words(names))
            }
            (Kind::Text, ExprKind::Text(text)) => Some(Value::Text(text.clone())),
            (Kind::Init | Kind::VectorInit, _) => self.initialiser(wanted, expr, scope).map(Value::Init),
            (kind, _) => {
                let words = match kind {
                    Kind::Numbers(_) => "a list of numbers",
                    Kind::Table => "lists of numbers",
                    Kind::Type => "the path of a Rust type",
                    Kind::OwnWeights => OWN_WEIGHTS,
                    Kind::Bool => "true or false",
                    Kind::Word(_) => "a word",
                    Kind::Words(_) => "a list of words",
                    Kind::Output => "the name of an output",
                    Kind::Text => "a text in quotes",
                    _ => "something else",
                };
                self.wrong_kind(wanted, expr, words);
                None
            }
        }
    }

    /// A word for an integer that is no parameter, nor nearly one.
    fn no_integer(&mut self, wanted: &Wanted<'_>, expr: &Expr, word: &str) {
        let title = format!("`{}` of `{}` is a number, not `{word}`", wanted.arg.name, wanted.of);
        let problem = Diagnostic::new(Code::N0204, title, expr.span, "no parameter has this name");
        self.report(match (wanted.arg.name, word) {
            ("padding", "same") => problem.note("a padding of `(kernel - 1) / 2` keeps the size of a map at stride 1"),
            ("padding", "valid") => problem.note("no padding is `0`, which is also what it is when not given"),
            _ => problem,
        });
    }

    fn wrong_kind(&mut self, wanted: &Wanted<'_>, expr: &Expr, words: &str) {
        if matches!(expr.kind, ExprKind::Missing) {
            return;
        }
        let title = format!("`{}` of `{}` takes {words}, not {}", wanted.arg.name, wanted.of, described(expr));
        self.report(Diagnostic::new(Code::N0204, title, expr.span, format!("wanted: {words}")));
    }

    /// The weights that a use of a layer of a user's own declares: names, shapes and first values.
    fn own_weights(
        &mut self,
        wanted: &Wanted<'_>,
        calls: impl Iterator<Item = &'a Call>,
        scope: &mut Scope<'a>,
    ) -> Option<Vec<OwnWeight>> {
        let mut weights: Vec<OwnWeight> = Vec::new();
        let mut complete = true;
        for call in calls {
            self.count_argument(call.span)?;
            let name = &call.name;
            if let Some(first) = weights.iter().find(|first| first.name.text == name.text) {
                let title = format!("the weight `{}` of `{}` is given twice", name.text, wanted.of);
                let problem = Diagnostic::new(Code::N0206, title, name.span, "the second");
                self.report(problem.label(first.name.span, "the first"));
                complete = false;
                continue;
            }
            let Some(args) = self.bind(&custom::WEIGHT, name, &call.args, scope, Code::N0211) else {
                complete = false;
                continue;
            };
            let shape: Vec<u64> =
                args.axes("shape").unwrap_or_default().iter().map(|size| size.value.unsigned_abs()).collect();
            self.check_dimensions(shape.len(), name.span)?;
            match args.get("init") {
                Some(Value::Init(init)) => {
                    weights.push(OwnWeight { name: name.clone(), shape, init: init.clone() });
                }
                _ => complete = false,
            }
        }
        complete.then_some(weights)
    }

    /// Nested lists, all of one depth and lists of one depth of one length: adds their numbers, and to the shape the lengths below
    /// `depth`. None when it was reported.
    fn table(
        &mut self,
        wanted: &Wanted<'_>,
        expr: &Expr,
        scope: &mut Scope<'a>,
        depth: usize,
        shape: &mut Vec<u64>,
        numbers: &mut Vec<f64>,
    ) -> Option<()> {
        let is_first = numbers.is_empty();
        let uneven = |this: &mut Self, found: String, wanted_here: String| {
            let title = format!("the lists of `{}` are not all alike", wanted.of);
            let problem =
                Diagnostic::new(Code::N0204, title, expr.span, format!("{found}, where others have {wanted_here}"));
            this.report(problem);
        };
        let numbers_of = |count: u64| format!("{count} element{}", plural(count as usize));
        match &expr.kind {
            ExprKind::List(items) => {
                let len = items.len() as u64;
                if items.is_empty() {
                    self.wrong_kind(wanted, expr, "lists of numbers");
                    return None;
                }
                match shape.get(depth) {
                    // Behind the first number no list is deeper than those before.
                    None if !is_first => {
                        uneven(self, "a list".to_owned(), "a number".to_owned());
                        return None;
                    }
                    None => {
                        shape.push(len);
                        self.check_dimensions(shape.len(), expr.span)?;
                    }
                    Some(&first) if first != len => {
                        uneven(self, numbers_of(len), first.to_string());
                        return None;
                    }
                    Some(_) => {}
                }
                items.iter().try_for_each(|item| self.table(wanted, item, scope, depth + 1, shape, numbers))
            }
            ExprKind::Missing => None,
            _ if depth < shape.len() => {
                uneven(self, "a number".to_owned(), format!("a list of {}", shape[depth]));
                None
            }
            _ => {
                numbers.push(self.number(wanted, &NumberRange::ANY, expr, scope)?);
                Some(())
            }
        }
    }

    /// A number: a literal, or arithmetic on them and on parameters.
    fn number(&mut self, wanted: &Wanted<'_>, range: &NumberRange, expr: &Expr, scope: &mut Scope<'a>) -> Option<f64> {
        self.count_argument(expr.span)?;
        if !is_numeric(&expr.kind) {
            self.wrong_kind(wanted, expr, "a number");
            return None;
        }
        let number = self.real(expr, scope)?;
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
        let near = nearest(word, words.iter().copied());
        let problem = Diagnostic::meant(Code::N0204, title, span, near, "not one of its words");
        self.report(match words.len() {
            0..=12 => problem.note_without_fix(|| format!("its words: {}", words.join(", "))),
            _ => problem,
        });
        None
    }

    /// A list of words of a fixed set, none twice.
    fn words(&mut self, wanted: &Wanted<'_>, words: &[&'static str], list: &Expr, items: &[Expr]) -> Option<Value> {
        let mut idents: Vec<Ident> = Vec::new();
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
            } else {
                // One that is reported is still counted.
                self.word(wanted, words, word, item.span);
                idents.push(Ident { text: word.clone(), span: item.span });
            }
        }
        if items.is_empty() {
            self.wrong_kind(wanted, list, "a list of at least one word");
            return None;
        }
        Some(Value::Words(idents))
    }

    fn initialiser(&mut self, wanted: &Wanted<'_>, expr: &'a Expr, scope: &mut Scope<'a>) -> Option<Choice> {
        let is_number = match &expr.kind {
            ExprKind::Word(word) => scope.ints.contains_key(word.as_str()),
            kind => is_numeric(kind),
        };
        if is_number {
            let number = self.number(wanted, &NumberRange::ANY, expr, scope)?;
            let value = Bound { name: "value", value: Value::Number(number), span: Some(expr.span) };
            return Some(Choice { decl: initialisers::constant(), args: Args(vec![value]), span: expr.span });
        }
        let code = [Code::N0402, Code::N0211];
        let (choice, complete) = self.choice("initialiser", INITIALISERS.iter(), code, expr, scope);
        let choice = choice.filter(|_| complete)?;
        let needs = initialisers::needs_matrix(choice.decl);
        if let Some(label) = needs.filter(|_| matches!(wanted.arg.kind, Kind::VectorInit)) {
            let title = format!("`{}` cannot fill `{}` of `{}`", choice.decl.name, wanted.arg.name, wanted.of);
            self.report(Diagnostic::new(Code::N0402, title, expr.span, label));
            return None;
        }
        if let Some((span, title, label)) = initialisers::disagreement(&choice) {
            self.report(Diagnostic::new(Code::N0211, title, span, label));
            return None;
        }
        Some(choice)
    }

    /// A word or call that names one of a table: a loss, an optimizer, a data set, an initialiser; and whether all of it is right.
    /// The codes are that of an unknown name and that of a value out of range.
    pub(super) fn choice(
        &mut self,
        noun: &str,
        table: impl Iterator<Item = &'static Decl> + Clone,
        [unknown, range]: [Code; 2],
        expr: &'a Expr,
        scope: &mut Scope<'a>,
    ) -> (Option<Choice>, bool) {
        let (name, args): (Ident, &'a [Arg]) = match &expr.kind {
            ExprKind::Missing => return (None, false),
            ExprKind::Word(word) => (Ident { text: word.clone(), span: expr.span }, &[]),
            ExprKind::Call(call) => (call.name.clone(), &call.args),
            _ => {
                let title = format!("{} names no {noun}", described(expr));
                self.report(Diagnostic::new(Code::N0204, title, expr.span, format!("wanted: the name of the {noun}")));
                return (None, false);
            }
        };
        let Some(decl) = table.clone().find(|decl| decl.name == name.text) else {
            let names: Vec<&str> = table.map(|decl| decl.name).collect();
            let near = nearest(&name.text, names.iter().copied());
            let title = format!("unknown {noun} `{}`", name.text);
            let problem = Diagnostic::meant(unknown, title, name.span, near, format!("no {noun} has this name"));
            self.report(problem.note_without_fix(|| format!("there are: {}", names.join(", "))));
            args.iter().for_each(|arg| self.touch(&arg.value, &scope.ints));
            return (None, false);
        };
        let (args, complete) = self.bind_all(decl, &name, args, scope, range);
        (Some(Choice { decl, args, span: expr.span }), complete)
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
        ExprKind::Missing | ExprKind::Int(_) | ExprKind::Word(_) | ExprKind::Sum(..) | ExprKind::Product(..) => true,
        ExprKind::Negative(inner) => is_arithmetic(&inner.kind),
        _ => false,
    }
}

/// Whether an expression can have a number as its value.
fn is_numeric(kind: &ExprKind) -> bool {
    match kind {
        ExprKind::Float(_) => true,
        ExprKind::Negative(inner) => is_numeric(&inner.kind),
        kind => is_arithmetic(kind),
    }
}

/// What a value is, for an error.
pub(super) fn described(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Missing => "what cannot be read".to_owned(),
        ExprKind::Int(value) => value.to_string(),
        ExprKind::Float(number) => format!("the number {number:?}"),
        ExprKind::Text(text) => format!("the text {text:?}"),
        ExprKind::Word(word) | ExprKind::Path(word) => format!("`{word}`"),
        ExprKind::Negative(_) | ExprKind::Sum(..) | ExprKind::Product(..) => "arithmetic".to_owned(),
        ExprKind::List(items) if items.is_empty() => "an empty list".to_owned(),
        ExprKind::List(_) => "a list".to_owned(),
        ExprKind::Call(call) => format!("`{}(…)`", call.name.text),
    }
}

/// What declares weights, for an error.
const OWN_WEIGHTS: &str = "a list of weights, such as `scale(8, init = ones)`";

/// Words of Rust that can stand in the path of a type.
const OF_PATHS: &[&str] = &["crate", "self", "super"];

/// PyTorch's names of arguments that have others here.
const PYTORCH: &[(&str, &str)] = &[
    ("kernel_size", "kernel"),
    ("in_channels", "in"),
    ("in_features", "in"),
    ("out_channels", "out"),
    ("out_features", "out"),
    ("learning_rate", "lr"),
];

/// The one of `names` that was likely meant.
fn meant<'n>(word: &str, names: &[&'n str]) -> Option<&'n str> {
    let ours = |name: &str| {
        let translated = PYTORCH.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| ours);
        names.iter().copied().find(|name| *name == translated)
    };
    ours(nearest(word, names.iter().copied().chain(PYTORCH.iter().map(|(theirs, _)| *theirs)))?)
}

/// What `of` takes, for a note.
fn takes(of: &str, names: &[&str]) -> String {
    match names {
        [] => format!("`{of}` takes no named arguments"),
        names => format!("its argument{}: {}", plural(names.len()), names.join(", ")),
    }
}

/// An argument that `of` does not have.
pub(super) fn no_such_argument(of: &str, arg: &Ident, names: &[&str]) -> Diagnostic {
    let title = format!("`{of}` has no argument `{}`", arg.text);
    Diagnostic::meant(Code::N0202, title, arg.span, meant(&arg.text, names), "no such argument")
        .note_without_fix(|| takes(of, names))
}

/// The error for more arguments by position than the first, once for all of them. When they stand in the order of `names`, or in
/// PyTorch's, the fix names them.
pub(super) fn surplus(
    of: &str,
    args: &[Arg],
    names: &[&str],
    in_order: bool,
    fixes: &crate::fixes::Fixes<'_>,
) -> Option<Diagnostic> {
    let by_position: Vec<&Expr> = args.iter().filter(|arg| arg.name.is_none()).map(|arg| &arg.value).collect();
    let (more, first) = match (names, by_position.as_slice()) {
        (_, []) | ([_, ..], [_]) => return None,
        ([], more) => (more, None),
        (_, [first, more @ ..]) => (more, Some(first)),
    };
    let span = more[0].span;
    let Some(first) = first else {
        return Some(Diagnostic::new(Code::N0210, format!("`{of}` takes no arguments"), span, "too many"));
    };
    let title = format!("only the first argument of `{of}` is given by position");
    let label = match more.len() {
        1 => "name this one: `name = value`".to_owned(),
        count => format!("name these {count}: `name = value`"),
    };
    let problem = Diagnostic::new(Code::N0210, title, span, label);
    let named: Vec<&str> = args.iter().filter_map(|arg| Some(arg.name.as_ref()?.text.as_str())).collect();
    let mut order = names.to_vec();
    // PyTorch's `Conv2d(3, 16, 5)` and `Linear(512, 32)` begin with what comes in; no `Conv2d(16, 5)` does.
    let least = if names.contains(&"kernel") { 3 } else { 2 };
    let is_mapped = names.starts_with(&["out", "in"]) && !named.contains(&"in") && by_position.len() >= least;
    match is_mapped {
        true => order.swap(0, 1),
        false => order.retain(|name| *name != "in"),
    }
    let fits = by_position.len() <= order.len() && order[..by_position.len()].iter().all(|name| !named.contains(name));
    // In YAML only one value can be without a name.
    if !in_order || !fits || fixes.is_yaml(span) {
        return Some(problem.note(takes(of, names)));
    }
    let mut edits: Vec<Edit> = Vec::new();
    for (place, (value, name)) in more.iter().zip(&order[1..]).enumerate() {
        edits.push(match is_mapped && place == 0 {
            true => Edit { span: first.span.after().to(value.span.before()), text: " -> ".to_owned() },
            false => Edit { span: value.span.before(), text: format!("{name} = ") },
        });
    }
    let title = if is_mapped { "name them, in PyTorch's order" } else { "name them, in the order of the declaration" };
    let fix = Fix { title: title.to_owned(), edits };
    Some(problem.maybe_fix(Some(fix)))
}

/// An argument that is given twice.
pub(super) fn given_twice(of: &str, name: &str, arg: &Arg, first: Span) -> Diagnostic {
    let title = format!("`{name}` of `{of}` is given twice");
    Diagnostic::new(Code::N0209, title, arg.value.span, "the second").label(first, "the first")
}
