//! Values: calls, expressions, shapes and names. Plain scalars are read by the DSL's grammar.

use super::Page;
use super::page::{is_name, is_place};
use super::tree::{Entry, Kind, Node};
use crate::ast::*;
use crate::diag::{Code, Diagnostic, Edit, Fix};
use crate::limits;
use crate::ops::thousands;
use crate::read::netspec;
use crate::source::Span;

impl Page<'_> {
    /// `name: arguments`.
    pub(super) fn call(&mut self, name: Ident, value: &Node) -> Option<Call> {
        let span = name.span.to(value.span);
        let args = match &value.kind {
            Kind::Empty => Vec::new(),
            Kind::Plain => self.scalar(value)?,
            Kind::Map(_) => {
                let fields = self.fields(value, &format!("`{}`", name.text), None)?;
                let wanted = fields.len();
                let args: Vec<Arg> = fields
                    .into_iter()
                    .filter_map(|(name, value)| {
                        let value = self.expr(value, name.as_ref().map_or("", |name| &name.text));
                        Some(Arg { name: Some(name?), value: value? })
                    })
                    .collect();
                if args.len() < wanted {
                    return None;
                }
                args
            }
            _ => vec![Arg { name: None, value: self.expr(value, &name.text)? }],
        };
        Some(Call { name, args, span })
    }

    /// One value, that of `owner`.
    pub(super) fn expr(&mut self, node: &Node, owner: &str) -> Option<Expr> {
        let kind = match &node.kind {
            Kind::Bad => return None,
            Kind::Empty => {
                let title = format!("`{owner}` has no value");
                self.report(Diagnostic::new(Code::N0112, title, self.place_of_nothing(node), "a value is wanted here"));
                return None;
            }
            Kind::Text(text) => ExprKind::Text(text.clone()),
            Kind::List(items) => {
                let values: Vec<Expr> = items.iter().filter_map(|item| self.expr(item, owner)).collect();
                if values.len() < items.len() {
                    return None;
                }
                ExprKind::List(values)
            }
            Kind::Map(entries) => match entries.as_slice() {
                [Entry { key, value }] => ExprKind::Call({
                    let name = self.name(key, "a key")?;
                    self.call(name, value)?
                }),
                _ => {
                    let place = entries.get(1).map_or(node.span, |second| second.key.span);
                    let title = format!("`{owner}` is given a mapping of {} keys", entries.len());
                    let problem = Diagnostic::new(Code::N0112, title, self.first_line(place), "")
                        .note("as a value, a mapping has one key: `{ kaiming_normal: { mode: fan_out } }`");
                    self.report(problem);
                    return None;
                }
            },
            Kind::Plain => {
                let mut args = self.scalar(node)?.into_iter();
                return match (args.next(), args.next()) {
                    (Some(Arg { name: None, value }), None) => Some(value),
                    _ => {
                        let title = format!("`->` cannot stand in the value of `{owner}`");
                        let problem = Diagnostic::new(Code::N0112, title, node.span, "one value is wanted here").note(
                            "it stands behind a layer, `linear: 512 -> 32`; in a mapping write `in: 512, out: 32`",
                        );
                        self.report(problem);
                        None
                    }
                };
            }
        };
        Some(Expr { kind, span: node.span })
    }

    /// What a plain scalar says to the DSL's grammar: one value, or two of `512 -> 32`.
    fn scalar(&mut self, node: &Node) -> Option<Vec<Arg>> {
        if self.is_full() {
            return None;
        }
        let text = self.slice(node.span);
        if let Some(at) = text.find("//") {
            let start = node.span.start as usize + at;
            let length = text[at..].len() - text[at..].trim_start_matches('/').len();
            let slashes = self.span(start, start + length);
            let problem =
                Diagnostic::new(Code::N0113, "`//` is no division", slashes, "`/` divides, without remainder");
            self.report(problem.fix("use `/`", slashes, "/"));
            return None;
        }
        let args = netspec::value(text, node.span, self.diagnostics)?;
        args.iter().all(|arg| self.check_scalar(&arg.value)).then_some(args)
    }

    /// Reports what the DSL's grammar reads in a scalar and YAML writes otherwise: lists, and calls with several arguments.
    fn check_scalar(&mut self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::List(_) => {
                let text = self.slice(expr.span);
                let problem = Diagnostic::new(
                    Code::N0112,
                    "a list of values stands in `[ ]`",
                    expr.span,
                    "a list is wanted here",
                );
                let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
                let fix = inner.map(|inner| format!("[{inner}]"));
                self.report(match fix {
                    Some(fix) => problem.fix("use brackets", expr.span, fix),
                    None => problem,
                });
                false
            }
            ExprKind::Call(call) if call.args.len() > 1 => {
                let name = &call.name.text;
                let title = format!("several arguments of `{name}` are a mapping in YAML");
                let problem = Diagnostic::new(Code::N0112, title, expr.span, "one argument can be written like this")
                    .note(format!("write `{{ {name}: {{ argument: value, … }} }}`"));
                self.report(problem);
                false
            }
            ExprKind::Call(call) => call.args.iter().all(|arg| self.check_scalar(&arg.value)),
            ExprKind::Negative(inner) => self.check_scalar(inner),
            ExprKind::Sum(first, rest) => {
                self.check_scalar(first) && rest.iter().all(|(_, expr)| self.check_scalar(expr))
            }
            ExprKind::Product(first, rest) => {
                self.check_scalar(first) && rest.iter().all(|(_, expr)| self.check_scalar(expr))
            }
            ExprKind::Missing
            | ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Text(_)
            | ExprKind::Word(_)
            | ExprKind::Path(_) => true,
        }
    }

    /// A shape, the value of `owner`: one list.
    pub(super) fn shape(&mut self, node: &Node, owner: &str) -> Option<Expr> {
        if matches!(node.kind, Kind::List(_)) {
            return self.expr(node, owner);
        }
        let fix = if matches!(node.kind, Kind::Plain) { self.wrap("write a list", "[", node, "]") } else { None };
        self.report_wrong(&format!("`{owner}`"), "a list of sizes", node, fix);
        None
    }

    /// `what`: a key, or something's name.
    pub(super) fn name(&mut self, node: &Node, what: &str) -> Option<Ident> {
        let word = match &node.kind {
            Kind::Text(text) => text,
            _ => self.slice(node.span),
        };
        match &node.kind {
            Kind::Plain | Kind::Text(_) if is_name(word) && word.len() > limits::NAME => {
                let title = format!("a name of {} characters", thousands(word.len() as u64));
                let label = format!("at most {}", limits::NAME);
                self.report(Diagnostic::new(Code::N0108, title, self.first_line(node.span), label));
                None
            }
            Kind::Plain if is_name(self.slice(node.span)) => {
                Some(Ident { text: self.slice(node.span).to_owned(), span: node.span })
            }
            Kind::Text(text) if is_name(text) => {
                let title = format!("{what} has no quotes");
                let problem = Diagnostic::new(Code::N0112, title, node.span, "in quotes this is a text");
                self.report(problem.fix("take the quotes away", node.span, text.clone()));
                Some(Ident { text: text.clone(), span: node.span })
            }
            Kind::Plain => {
                let title = format!("{} is no name", self.quoted(node.span));
                let problem = Diagnostic::new(Code::N0112, title, self.first_line(node.span), netspec::NAME_RULE);
                self.report(problem.note(format!("{what} is one word")));
                None
            }
            _ => {
                self.report_wrong(what, "one word", node, None);
                None
            }
        }
    }

    /// What stands behind `as`: a name, or a number.
    pub(super) fn label(&mut self, node: &Node) -> Option<Ident> {
        match self.slice(node.span) {
            text if matches!(node.kind, Kind::Plain) && is_place(text) => {
                Some(Ident { text: text.to_owned(), span: node.span })
            }
            _ => self.name(node, "the name behind `as`"),
        }
    }

    /// Reports a value of the wrong form, unless it was reported.
    pub(super) fn report_wrong(&mut self, owner: &str, wanted: &str, node: &Node, fix: Option<Fix>) {
        let found = match node.kind {
            Kind::Bad => return,
            Kind::Empty => "nothing".to_owned(),
            Kind::Plain => self.quoted(node.span),
            Kind::Text(_) => "a text in quotes".to_owned(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a mapping".to_owned(),
        };
        let title = format!("{owner} is {wanted}, found {found}");
        self.report(Diagnostic::new(Code::N0112, title, self.place_of_nothing(node), "").maybe_fix(fix));
    }

    /// What to underline of a value: its first line, or, when it is not there, the character before its place.
    pub(super) fn place_of_nothing(&self, node: &Node) -> Span {
        match node.kind {
            Kind::Empty => self.span((node.span.start as usize).saturating_sub(1), node.span.end as usize),
            _ => self.first_line(node.span),
        }
    }

    /// The fix that writes `before` and `after` around a value, if that is right in YAML: it stands on one line.
    pub(super) fn wrap(&self, title: &str, before: &str, node: &Node, after: &str) -> Option<Fix> {
        let text = self.slice(node.span);
        let is_block = matches!(node.kind, Kind::Map(_) | Kind::List(_)) && !text.starts_with(['[', '{']);
        let fits = !text.contains('\n') && !is_block && !matches!(node.kind, Kind::Empty | Kind::Bad);
        let edit = Edit { span: node.span, text: format!("{before}{text}{after}") };
        fits.then(|| Fix { title: title.to_owned(), edits: vec![edit] })
    }
}
