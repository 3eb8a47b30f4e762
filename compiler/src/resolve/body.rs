//! Statements: layers with their names and paths, branches, repeats.

use super::names::Level;
use super::{Resolver, Scope, takes_values, twice};
use crate::ast::{Body, Statement, StatementKind};
use crate::diag::{Code, Diagnostic, Frame, did_you_mean};
use crate::net::{LayerId, LayerKind, NetLayer, ValueId};
use crate::source::Span;
use crate::{ast, limits, ops};

/// Bytes of a call that is pointed at as a whole.
const LINE: usize = 500;

/// The parts of a `repeat`.
struct Repeat<'a> {
    count: &'a ast::Expr,
    tied: Option<Span>,
    unrolled: Option<Span>,
    body: &'a Body,
    statement: &'a Statement,
}

impl<'a> Resolver<'a> {
    /// Resolves a body into layers of the net.
    pub(super) fn body(&mut self, body: &'a Body, scope: &mut Scope<'a>, level: &mut Level) -> Vec<LayerId> {
        if self.depth >= limits::NESTING {
            let title = format!("nested more than {} deep, with every block use written out", limits::NESTING);
            self.too_much(Diagnostic::new(Code::N0108, title, body.span.before(), "one level too many"));
            return Vec::new();
        }
        self.depth += 1;
        let mut layers = Vec::with_capacity(body.statements.len());
        for statement in &body.statements {
            if self.over_limit {
                break;
            }
            layers.push(self.statement(statement, scope, level));
        }
        self.depth -= 1;
        layers
    }

    /// Whether a body reads the value before it, and not only values that it names.
    pub(super) fn reads_first_value(&self, body: &[LayerId]) -> bool {
        let Some(&first) = body.first() else { return true };
        match &self.net.layer(first).kind {
            LayerKind::From(_) => false,
            LayerKind::Op(op) => op.values.is_empty(),
            LayerKind::Branch { arms, .. } => arms.iter().any(|arm| self.reads_first_value(arm)),
            LayerKind::Repeat { body, .. } | LayerKind::Group { body, .. } => self.reads_first_value(body),
            LayerKind::Shared(shared) => self.reads_first_value(&self.net.shared(*shared).body),
            LayerKind::Skip { .. } | LayerKind::Missing => true,
        }
    }

    /// Adds a layer to the net; its kind is filled in once its parts are resolved.
    fn add(&mut self, statement: &Statement, name: String, path: String, sets: u64) -> LayerId {
        if self.net.layers.len() >= limits::STATEMENTS {
            let title = format!(
                "more than {} statements, with every block use written out",
                ops::thousands(limits::STATEMENTS as u64)
            );
            let problem = Diagnostic::new(Code::N0108, title, statement.head, "one too many");
            self.too_much(problem.note("`repeat` writes its body once for all its iterations"));
        }
        self.net.layers.push(NetLayer {
            kind: LayerKind::Missing,
            name,
            path,
            sets,
            asserted: None,
            head: statement.head,
            call: self.one_line(statement),
            span: statement.span,
        });
        LayerId(self.net.layers.len() as u32 - 1)
    }

    /// A statement's call when it stands on one line, else its head.
    fn one_line(&self, statement: &Statement) -> Span {
        match &statement.kind {
            StatementKind::Call(call)
                if call.span.range().len() <= LINE && !self.fixes.sources.text(call.span).contains('\n') =>
            {
                call.span
            }
            _ => statement.head,
        }
    }

    fn statement(&mut self, statement: &'a Statement, scope: &mut Scope<'a>, level: &mut Level) -> LayerId {
        let label = statement.name.as_ref();
        let written = match &statement.kind {
            StatementKind::Call(call) => call.name.text.clone(),
            _ => self.fixes.sources.text(statement.head).to_owned(),
        };
        let name = label.map_or(written, |label| label.text.clone());
        let id = self.add(statement, name, String::new(), level.sets);
        let (kind, path) = match &statement.kind {
            StatementKind::Call(call) => self.call(call, statement, scope, level),
            StatementKind::Skip { body, project } => self.labelled(label, scope, level, |this, scope, level| {
                let body = this.body(body, scope, level);
                let project = project.as_ref().map(|project| this.body(project, scope, level));
                LayerKind::Skip { body, project }
            }),
            StatementKind::Branch { join, arms } => self.branch(join, arms, statement, scope, level),
            StatementKind::Repeat { count, tied, unrolled, body } => {
                self.repeat(Repeat { count, tied: *tied, unrolled: *unrolled, body, statement }, scope, level)
            }
            StatementKind::From(name) => {
                let kind = self.value(name, scope).map_or(LayerKind::Missing, LayerKind::From);
                (kind, String::new())
            }
            StatementKind::Missing => (LayerKind::Missing, String::new()),
        };
        let asserted = statement.shape.as_ref().and_then(|shape| self.asserted(shape, scope));
        let layer = &mut self.net.layers[id.0 as usize];
        layer.kind = kind;
        layer.path = path;
        layer.asserted = asserted;
        if let Some(label) = label {
            scope.values.name(label, ValueId::Layer(id));
        }
        id
    }

    /// A skip or branch: with a label it is a level of names of its own, without one it is none.
    fn labelled(
        &mut self,
        label: Option<&'a ast::Ident>,
        scope: &mut Scope<'a>,
        level: &mut Level,
        resolve: impl FnOnce(&mut Self, &mut Scope<'a>, &mut Level) -> LayerKind,
    ) -> (LayerKind, String) {
        let Some(label) = label else {
            return (resolve(self, scope, level), String::new());
        };
        self.take(label, level);
        let path = level.path(&label.text);
        let mut inner = Level::new(path.clone(), level.sets);
        scope.values.open();
        let kind = resolve(self, scope, &mut inner);
        scope.values.close("is a name of its own level inside a labelled part");
        (kind, path)
    }

    pub(super) fn take(&mut self, label: &ast::Ident, level: &mut Level) {
        if let Err(first) = level.take(label) {
            let problem = twice(label, first, "name");
            self.report(problem);
        }
    }

    fn branch(
        &mut self,
        join: &'a ast::Ident,
        arms: &'a [Body],
        statement: &'a Statement,
        scope: &mut Scope<'a>,
        level: &mut Level,
    ) -> (LayerKind, String) {
        let joins = || ops::LAYERS.iter().filter(|layer| takes_values(**layer));
        let layer = joins().find(|layer| layer.decl().name == join.text);
        if layer.is_none() {
            let names: Vec<&str> = joins().map(|layer| layer.decl().name).collect();
            let title = format!("a branch cannot be joined by `{}`", join.text);
            let label = did_you_mean(&join.text, names.iter().copied(), "not a layer that joins values");
            self.report(
                Diagnostic::new(Code::N0201, title, join.span, label).note(format!("write `{}`", names.join("` or `"))),
            );
        }
        if arms.len() < 2 {
            let title = format!("a branch with {} arm{}", arms.len(), ops::plural(arms.len()));
            self.report(
                Diagnostic::new(Code::N0114, title, statement.head, "needs two or more")
                    .note("`identity` is the arm that changes nothing"),
            );
        }
        self.labelled(statement.name.as_ref(), scope, level, |this, scope, level| {
            let arms: Vec<Vec<LayerId>> = arms.iter().map(|arm| this.body(arm, scope, level)).collect();
            match layer {
                Some(join) if arms.len() > 1 => LayerKind::Branch { join: *join, arms },
                _ => LayerKind::Missing,
            }
        })
    }

    fn repeat(&mut self, repeat: Repeat<'a>, scope: &mut Scope<'a>, level: &mut Level) -> (LayerKind, String) {
        let Repeat { count, tied, unrolled, body, statement } = repeat;
        let times = self.repeat_count(count, unrolled.is_some(), scope);
        if let (Some(tied), Some(unrolled)) = (tied, unrolled) {
            let problem = Diagnostic::new(
                Code::N0216,
                "a repeat that is both tied and unrolled",
                unrolled,
                "a template, each with new weights",
            )
            .label(tied, "one set of weights for all");
            self.report(problem);
        }
        let path = self.place("repeat", statement, level);
        // Without a count the body is still looked at, once.
        let is_counted = times.is_some();
        let times = times.unwrap_or(1);
        let label = statement.name.as_ref().map_or("repeat", |label| label.text.as_str());
        let around = |text: String, times| Frame { text, used_at: statement.head, is_use: false, times };
        if unrolled.is_none() {
            let (index, sets) =
                if tied.is_some() { ("0", level.sets) } else { ("*", level.sets.saturating_mul(times)) };
            self.trace.push(around(format!("in the body of `{label}`"), times));
            let body = self.iteration(body, format!("{path}.{index}"), sets, scope);
            self.trace.pop();
            return (LayerKind::Repeat { count: times, tied: tied.is_some(), body }, path);
        }
        let mut iterations = Vec::new();
        for index in 0..times {
            if self.over_limit {
                break;
            }
            let trace = format!("in iteration {} of {times} of `{label}`", index + 1);
            self.trace.push(around(trace.clone(), 1));
            let id = self.add(statement, label.to_owned(), format!("{path}.{index}"), level.sets);
            let body = self.iteration(body, format!("{path}.{index}"), level.sets, scope);
            self.net.layers[id.0 as usize].kind = LayerKind::Group { trace, is_use: false, body };
            self.trace.pop();
            iterations.push(id);
        }
        match is_counted {
            true => (LayerKind::Group { trace: String::new(), is_use: false, body: iterations }, path),
            false => (LayerKind::Missing, path),
        }
    }

    /// The body of a repeat, whose names stand below `prefix`. A body of one unnamed block use adds no level of its own.
    fn iteration(&mut self, body: &'a Body, prefix: String, sets: u64, scope: &mut Scope<'a>) -> Vec<LayerId> {
        let mut level = Level::new(prefix, sets);
        if let [Statement { kind: StatementKind::Call(call), name: None, .. }] = body.statements.as_slice() {
            level.lends_its_place = self.block(&call.name).is_some();
        }
        scope.values.open();
        let layers = self.body(body, scope, &mut level);
        scope.values.close("is inside a repeat, which makes it more than once");
        layers
    }

    fn repeat_count(&mut self, count: &'a ast::Expr, unrolled: bool, scope: &mut Scope<'a>) -> Option<u64> {
        let int = self.int(count, scope)?;
        let limit = if unrolled { limits::UNROLLED } else { limits::REPEAT };
        let times = int.value;
        if times < 1 {
            let problem =
                Diagnostic::new(Code::N0211, format!("a repeat of {times} times"), int.span, "must be at least 1");
            self.report(problem.notes(int.how));
            return None;
        }
        if times > limit {
            let title = format!("a repeat of {} times", ops::thousands(times.unsigned_abs()));
            let what = if unrolled { "an unrolled repeat" } else { "a repeat" };
            let label = format!("{what} may have {}", ops::thousands(limit.unsigned_abs()));
            self.report(Diagnostic::new(Code::N0108, title, int.span, label).notes(int.how));
            return None;
        }
        Some(times.unsigned_abs())
    }

    /// The path of a part that has a place in the state dict: its label, else its kind and its place among all of its kind in
    /// the level, labelled ones counted.
    pub(super) fn place(&mut self, kind: &str, statement: &Statement, level: &mut Level) -> String {
        let name = level.number(kind);
        if let Some(label) = &statement.name {
            self.take(label, level);
            return level.path(&label.text);
        }
        let ident = ast::Ident { text: name.clone(), span: statement.head };
        if let Err(first) = level.take(&ident) {
            let title = format!("the name `{name}` of this unnamed `{kind}` is taken");
            let label = format!("is called `{name}`, by its place among all of its kind");
            let advice = if self.fixes.is_yaml(statement.head) { "`as: name`" } else { "`as name`" };
            self.report(
                Diagnostic::new(Code::N0206, title, statement.head, label)
                    .label(first, "the name is given here")
                    .note(format!("name it with {advice}")),
            );
        }
        level.path(&name)
    }
}
