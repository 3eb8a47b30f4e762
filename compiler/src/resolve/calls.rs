//! Calls: a layer, a use of a shared instance or of a block.

use std::collections::HashMap;

use super::names::{Level, Values, snake_case};
use super::{Resolver, Scope, SharedState, bind, takes_values, uses_itself};
use crate::ast::Statement;
use crate::diag::{Code, Diagnostic, Frame, nearest};
use crate::net::{LayerKind, Op, Shared, SharedId, ValueId};
use crate::source::Span;
use crate::{ast, ops};

impl<'a> Resolver<'a> {
    /// A layer, a use of a shared instance, or a use of a block.
    pub(super) fn call(
        &mut self,
        call: &'a ast::Call,
        statement: &'a Statement,
        scope: &mut Scope<'a>,
        level: &mut Level,
    ) -> (LayerKind, String) {
        let word = call.name.text.as_str();
        if let Some((layer, rank)) = ops::layer(word) {
            return self.layer(layer, rank, call, statement, scope, level);
        }
        if let Some(index) = scope.shared.iter().position(|shared| shared.declared.name.text == word) {
            // Its weights live where it is declared: a label names this use's value only.
            if let Some(label) = &statement.name {
                self.take(label, level);
            }
            return (self.shared_use(index, call, scope), String::new());
        }
        if let Some(block) = self.block(&call.name) {
            return self.block_use(block, call, statement, scope, level);
        }
        if let Some(label) = &statement.name {
            self.take(label, level);
        }
        let problem = self.unknown_layer(call, scope);
        self.report(problem);
        call.args.iter().for_each(|arg| self.touch(&arg.value, &scope.ints));
        (LayerKind::Missing, String::new())
    }

    fn unknown_layer(&self, call: &ast::Call, scope: &Scope<'_>) -> Diagnostic {
        let word = &call.name.text;
        let blocks = self.blocks.get(&call.name.span.file);
        let mut names: Vec<&str> = blocks.into_iter().flat_map(HashMap::keys).copied().collect();
        names.sort_unstable();
        names.extend(scope.shared.iter().map(|shared| -> &str { &shared.declared.name.text }));
        ops::layer_names().for_each(|name| names.push(name));
        let otherwise = match scope.values.knows(word) {
            true => format!("a value's name: write `from {word}`"),
            false => "no layer, block or shared instance has this name".to_owned(),
        };
        let title = format!("unknown layer `{word}`");
        Diagnostic::meant(Code::N0201, title, call.name.span, nearest(word, names), otherwise)
    }

    pub(super) fn layer(
        &mut self,
        layer: &'static dyn ops::Layer,
        rank: Option<usize>,
        call: &'a ast::Call,
        statement: &'a Statement,
        scope: &mut Scope<'a>,
        level: &mut Level,
    ) -> (LayerKind, String) {
        let kind = layer.decl().name;
        let path = if layer.has_weights() || statement.name.is_some() {
            self.place(kind, statement, level)
        } else {
            let name = level.number(kind);
            level.path(&name)
        };
        let (args, values) = if takes_values(layer) {
            (Some(ops::Args::default()), self.named_values(call, scope))
        } else {
            (self.bind(layer.decl(), &call.name, &call.args, scope, Code::N0211), Some(Vec::new()))
        };
        match (args, values) {
            (Some(args), Some(values)) => (LayerKind::Op(Op { layer, rank, args, values }), path),
            _ => (LayerKind::Missing, path),
        }
    }

    /// The arguments of `add` and `concat`: names of values, at least two.
    fn named_values(&mut self, call: &'a ast::Call, scope: &mut Scope<'a>) -> Option<Vec<Option<ValueId>>> {
        for name in call.args.iter().filter_map(|arg| arg.name.as_ref()) {
            self.report(bind::no_such_argument(&call.name.text, name, &[]));
        }
        let mut values = Vec::new();
        for expr in bind::unpacked(&call.args) {
            self.count_argument(expr.span)?;
            match &expr.kind {
                ast::ExprKind::Word(word) => {
                    let ident = ast::Ident { text: word.clone(), span: expr.span };
                    values.push(self.value(&ident, scope));
                }
                ast::ExprKind::Missing => values.push(None),
                _ => {
                    let title = format!("`{}` takes names of values", call.name.text);
                    let label = format!("not {}", bind::described(expr));
                    self.report(Diagnostic::new(Code::N0204, title, expr.span, label));
                    values.push(None);
                }
            }
        }
        if values.len() < 2 {
            let title = format!("`{}` needs two values or more", call.name.text);
            let label = format!("{} given", values.len());
            let name = &call.name.text;
            let example = match self.fixes.is_yaml(call.span) {
                true => format!("{name}: [a, b]"),
                false => format!("{name}(a, b)"),
            };
            self.report(
                Diagnostic::new(Code::N0203, title, call.name.span, label)
                    .note(format!("name values with `as`, then write `{example}`")),
            );
            return None;
        }
        Some(values)
    }

    fn shared_use(&mut self, index: usize, call: &'a ast::Call, scope: &mut Scope<'a>) -> LayerKind {
        let SharedState { declared, id, sets, .. } = &scope.shared[index];
        let (declared, id, sets) = (*declared, *id, *sets);
        let name = declared.name.text.as_str();
        if let Some(arg) = call.args.first() {
            let title = format!("the shared `{name}` takes no arguments");
            self.report(
                Diagnostic::new(Code::N0210, title, arg.value.span, "one argument too many")
                    .label(declared.name.span, "declared here, as one instance")
                    .note("a `block` has parameters: it is a template, with new weights at each use"),
            );
        }
        if let Some(id) = id {
            return LayerKind::Shared(id);
        }
        if scope.around.contains(&declared.name.span) {
            self.report(uses_itself("shared", name, call.name.span, declared.name.span));
            return LayerKind::Missing;
        }
        // Resolved at its first use, where every shared instance of the scope is known; it sees no values from outside.
        let mut level = Level::new(scope.shared[index].prefix.clone(), sets);
        let outside = std::mem::take(&mut scope.values);
        scope.values.announce(&declared.body);
        scope.around.push(declared.name.span);
        let body = self.body(&declared.body, scope, &mut level);
        scope.around.pop();
        scope.values = outside;
        let id = SharedId(self.net.shared.len() as u32);
        self.net.shared.push(Shared { name: name.to_owned(), body });
        scope.shared[index].id = Some(id);
        LayerKind::Shared(id)
    }

    fn block_use(
        &mut self,
        block: &'a ast::Block,
        call: &'a ast::Call,
        statement: &'a Statement,
        scope: &mut Scope<'a>,
        level: &mut Level,
    ) -> (LayerKind, String) {
        let name = block.name.text.as_str();
        let path =
            if level.lends_its_place { level.prefix.clone() } else { self.place(&snake_case(name), statement, level) };
        if scope.around.contains(&block.name.span) {
            self.report(uses_itself("block", name, call.name.span, block.name.span));
            call.args.iter().for_each(|arg| self.touch(&arg.value, &scope.ints));
            return (LayerKind::Missing, path);
        }
        let Some(ints) = self.block_params(block, call, scope) else {
            return (LayerKind::Missing, path);
        };
        let shown: Vec<String> = block
            .params
            .iter()
            .map(|param| param.name.text.as_str())
            .filter_map(|name| Some(format!("{name} = {}", ints.get(name)?.0?)))
            .collect();
        let shown = if shown.is_empty() { String::new() } else { format!("({})", shown.join(", ")) };
        let trace = format!("in `{name}{shown}`");
        let mut around = scope.around.clone();
        around.push(block.name.span);
        let mut inner = Scope { ints, shared: Vec::new(), values: Values::default(), around };
        let mut inner_level = Level::new(path.clone(), level.sets);
        self.trace.push(Frame { text: trace.clone(), used_at: statement.head, is_use: true, times: 1 });
        self.declare_shared(&block.shared, &mut inner, &mut inner_level);
        inner.values.announce(&block.body);
        let body = self.body(&block.body, &mut inner, &mut inner_level);
        self.report_unused_shared(&inner);
        self.trace.pop();
        self.resolved_blocks.insert(block.name.span);
        (LayerKind::Group { trace, is_use: true, body }, path)
    }

    /// Binds the arguments of a block use to the block's parameters.
    fn block_params(
        &mut self,
        block: &'a ast::Block,
        call: &'a ast::Call,
        scope: &mut Scope<'a>,
    ) -> Option<HashMap<&'a str, (Option<i64>, Span)>> {
        let name = &block.name.text;
        let mut given: HashMap<&str, (i64, Span)> = HashMap::new();
        let mut complete = true;
        let names: Vec<&str> = block.params.iter().map(|param| param.name.text.as_str()).collect();
        let first_by_position = call.args.iter().position(|arg| arg.name.is_none());
        for (place, arg) in call.args.iter().enumerate() {
            self.count_argument(arg.value.span)?;
            let param = match &arg.name {
                Some(arg_name) => block.params.iter().find(|param| param.name.text == arg_name.text),
                None if first_by_position == Some(place) => block.params.first(),
                None => None,
            };
            let Some(param) = param else {
                complete = false;
                if let Some(arg_name) = &arg.name {
                    let problem = bind::no_such_argument(name, arg_name, &names);
                    self.report(problem.label(block.name.span, "the block"));
                }
                self.touch(&arg.value, &scope.ints);
                continue;
            };
            if let Some((_, first)) = given.get(param.name.text.as_str()) {
                complete = false;
                let problem = bind::given_twice(name, &param.name.text, arg, *first);
                self.report(problem);
                continue;
            }
            match self.int(&arg.value, scope) {
                Some(int) => {
                    given.insert(&param.name.text, (int.value, arg.value.span));
                }
                None => complete = false,
            }
        }
        if let Some(problem) = bind::surplus(name, &call.args, &names, true, &self.fixes) {
            self.report(problem.label(block.name.span, "the block"));
        }
        let mut inner =
            Scope { ints: HashMap::new(), shared: Vec::new(), values: Values::default(), around: Vec::new() };
        for param in &block.params {
            let param_name = param.name.text.as_str();
            if inner.ints.contains_key(param_name) {
                continue;
            }
            let value = match (given.get(param_name), &param.default) {
                (Some((value, _)), _) => Some(*value),
                (None, Some(default)) => self.int(default, &mut inner).map(|int| int.value),
                (None, None) if complete => {
                    let title = format!("`{name}` needs `{param_name}`");
                    self.report(
                        Diagnostic::new(Code::N0203, title, call.name.span, format!("no `{param_name}` given"))
                            .label(param.name.span, "declared here, without a default"),
                    );
                    None
                }
                (None, None) => None,
            };
            match value {
                Some(value) => {
                    inner.ints.insert(param_name, (Some(value), param.name.span));
                }
                None => complete = false,
            }
        }
        complete.then_some(inner.ints)
    }
}
