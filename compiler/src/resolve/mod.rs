//! AST to net: parameters, arithmetic, block uses, names, shared instances, weights' names.
//!
//! After this pass there are no expressions, no blocks and no names to look up; `repeat` is still a loop. What cannot be
//! resolved is reported and stands in the net as [`Missing`](crate::net::LayerKind::Missing), so that the shapes around it are still
//! checked.

mod bind;
mod body;
mod calls;
mod declare;
mod eval;
mod names;
mod train;
mod tricks;

use std::collections::{HashMap, HashSet};

use crate::ast::{self, Spec, StatementKind};
use crate::diag::{Code, Diagnostic, Findings, Frame, did_you_mean};
use crate::fixes::Fixes;
use crate::net::{Input, Net, Output, SharedId, ValueId};
use crate::ops::{self, Int, Kind};
use crate::source::{FileId, Sources, Span};
use crate::{Options, limits};
use names::{Level, Values};

/// Resolves a spec with a model: that of the first file, with blocks of all. None when it has none, which its reader reported.
pub fn resolve(specs: &[Spec], options: &Options, sources: &Sources, findings: &mut Findings) -> Option<Net> {
    let spec = specs.first()?;
    let model = spec.model.as_ref()?;
    let mut resolver = Resolver {
        fixes: Fixes { sources },
        findings,
        reports: 0,
        blocks: HashMap::new(),
        resolved_blocks: HashSet::new(),
        used_params: HashSet::new(),
        model_ints: HashMap::new(),
        trace: Vec::new(),
        depth: 0,
        arguments: 0,
        over_limit: false,
        net: Net {
            name: model.name.text.clone(),
            name_span: model.name.span,
            params: Vec::new(),
            inputs: Vec::new(),
            layers: Vec::new(),
            shared: Vec::new(),
            body: Vec::new(),
            outputs: Vec::new(),
            train: None,
            settings: None,
        },
    };
    resolver.declare_blocks(specs);
    resolver.model(model, options);
    if let Some(train) = &spec.train {
        resolver.train(train);
    }
    resolver.report_unused(specs, model);
    Some(resolver.net)
}

struct Resolver<'a> {
    fixes: Fixes<'a>,
    findings: &'a mut Findings,
    /// How often something was reported, also of a block that was told of before.
    reports: usize,
    /// The blocks that can be used in each file: its own, and those of the files that it uses.
    blocks: HashMap<FileId, HashMap<&'a str, &'a ast::Block>>,
    /// Blocks of which a use could be resolved, so that all their expressions were read, by their names' places.
    resolved_blocks: HashSet<Span>,
    /// Places of the parameters' names that some expression reads.
    used_params: HashSet<Span>,
    /// The model's parameters, which its train section can read too.
    model_ints: HashMap<&'a str, (Option<i64>, Span)>,
    /// The block uses and repeats around what is being resolved, outermost first.
    trace: Vec<Frame>,
    /// Bodies inside each other, with block and shared uses written out.
    depth: usize,
    /// Arguments and numbers so far, with block uses written out.
    arguments: usize,
    /// More than allowed of something; reported once, and nothing more is resolved.
    over_limit: bool,
    net: Net,
}

/// What an expression and a statement can see: one instance of the model or of a block.
struct Scope<'a> {
    /// Integer parameters: the value, None when it was reported, and where the name is declared.
    ints: HashMap<&'a str, (Option<i64>, Span)>,
    /// Shared instances declared directly in it.
    shared: Vec<SharedState<'a>>,
    /// Named values.
    values: Values,
    /// Where the blocks and shared instances are declared whose bodies are around this.
    around: Vec<Span>,
}

struct SharedState<'a> {
    declared: &'a ast::Shared,
    prefix: String,
    sets: u64,
    id: Option<SharedId>,
}

impl<'a> Resolver<'a> {
    fn report(&mut self, mut diagnostic: Diagnostic) {
        diagnostic.trace = Frame::told(&self.trace, diagnostic.primary());
        self.reports += 1;
        self.findings.report(diagnostic);
        self.over_limit |= self.findings.is_full();
    }

    /// Reports, once, that the spec has too much of something.
    fn too_much(&mut self, problem: Diagnostic) {
        if !self.over_limit {
            self.over_limit = true;
            self.report(problem);
        }
    }

    /// Counts one argument or number. None when there are too many, which was reported.
    fn count_argument(&mut self, at: Span) -> Option<()> {
        self.arguments += 1;
        if self.arguments > limits::ARGUMENTS {
            let count = ops::thousands(limits::ARGUMENTS as u64);
            let title = format!("more than {count} arguments and numbers, with every block use written out");
            self.too_much(Diagnostic::new(Code::N0108, title, at, "one too many"));
        }
        (!self.over_limit).then_some(())
    }

    /// Reports more inputs or outputs than a model may have: `count` of `what`, the first too many being `name`.
    fn check_count(&mut self, what: &str, count: usize, name: Option<&ast::Ident>) {
        if let Some(name) = name {
            let label = format!("at most {}", limits::INPUTS);
            self.report(Diagnostic::new(Code::N0108, format!("{count} {what}"), name.span, label));
        }
    }

    fn model(&mut self, model: &'a ast::Model, options: &Options) {
        self.check_model_name(&model.name);
        self.check_count("inputs", model.inputs.len(), model.inputs.get(limits::INPUTS).map(|input| &input.name));
        self.check_count("outputs", model.outputs.len(), model.outputs.get(limits::INPUTS));
        let mut scope =
            Scope { ints: HashMap::new(), shared: Vec::new(), values: Values::default(), around: Vec::new() };
        self.model_params(model, options, &mut scope);
        let mut level = Level::new(String::new(), 1);
        let inputs: Vec<&ast::Ident> =
            model.inputs.iter().filter_map(|input| self.input(input, &mut scope, &mut level)).collect();
        let could_read_all = !model.body.statements.iter().any(|it| matches!(it.kind, StatementKind::Missing));
        if model.inputs.is_empty() && could_read_all {
            let title = format!("`{}` has no input", model.name.text);
            let advice = if self.fixes.is_yaml(model.name.span) {
                "write its shape: `input: { image: [3, 32, 32] }`"
            } else {
                "write its shape: `input image [3, 32, 32];`"
            };
            self.report(Diagnostic::new(Code::N0111, title, model.name.span, "").note(advice));
        }
        self.declare_shared(&model.shared, &mut scope, &mut level);
        scope.values.announce(&model.body);
        self.net.body = self.body(&model.body, &mut scope, &mut level);
        if self.reads_first_value(&self.net.body) && !self.net.inputs.is_empty() {
            scope.values.use_input(0);
        }
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for output in &model.outputs {
            if self.over_limit {
                break;
            }
            if let Some(first) = seen.insert(&output.text, output.span) {
                let problem = twice(output, first, "output");
                self.report(problem);
            } else if let Some(value) = self.value(output, &mut scope) {
                self.net.outputs.push(Output { name: output.text.clone(), value, span: output.span });
            }
        }
        for (index, name) in inputs.into_iter().enumerate() {
            if !scope.values.input_is_used(index as u32) && !self.over_limit {
                let title = format!("the input `{}` is not used", name.text);
                self.report(Diagnostic::new(Code::N0904, title, name.span, "no layer reads it"));
            }
        }
        self.report_unused_shared(&scope);
        self.model_ints = scope.ints;
    }

    /// Parameters: values from outside, else defaults, which may name the parameters before them.
    fn model_params(&mut self, model: &'a ast::Model, options: &Options, scope: &mut Scope<'a>) {
        for param in &model.params {
            let name = &param.name;
            if let Some((_, first)) = scope.ints.get(name.text.as_str()) {
                let problem = twice(name, *first, "parameter");
                self.report(problem);
                self.used_params.insert(name.span);
                continue;
            }
            let given = options.params.iter().rev().find(|(given, _)| *given == name.text).map(|(_, value)| *value);
            let value = match (given, &param.default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => self.int(default, scope).map(|int| int.value),
                (None, None) => {
                    let title = format!("the parameter `{}` has no value", name.text);
                    let advice = format!("give a default, `{0} = …`, or set it from outside: `-p {0}=…`", name.text);
                    self.report(Diagnostic::new(Code::N0214, title, name.span, "no default").note(advice));
                    None
                }
            };
            scope.ints.insert(&name.text, (value, name.span));
            self.net.params.extend(value.map(|value| (name.text.clone(), value)));
        }
        for (given, _) in &options.params {
            if !scope.ints.contains_key(given.as_str()) {
                let names = model.params.iter().map(|param| param.name.text.as_str());
                let title = format!("`{}` has no parameter `{given}`", model.name.text);
                let label = did_you_mean(given, names.clone(), "it was set from outside");
                let problem = Diagnostic::new(Code::N0212, title, model.name.span, label);
                let names = names.collect::<Vec<_>>();
                self.report(match names.is_empty() {
                    true => problem.note("it has no parameters"),
                    false => problem.note(format!("its parameters: {}", names.join(", "))),
                });
            }
        }
    }

    /// Adds an input to the net, and gives its name, unless that is taken.
    fn input(&mut self, input: &'a ast::Input, scope: &mut Scope<'a>, level: &mut Level) -> Option<&'a ast::Ident> {
        let ast::Input { name, shape, has_gradient } = input;
        let sizes = match &shape.kind {
            ast::ExprKind::List(sizes) if sizes.is_empty() => {
                let title = format!("the input `{}` has no sizes", name.text);
                self.report(Diagnostic::new(Code::N0204, title, shape.span, "write at least one size"));
                None
            }
            ast::ExprKind::List(sizes) => self.sizes(sizes, shape.span, scope),
            _ => {
                let title = format!("the shape of `{}` is not a list", name.text);
                self.report(Diagnostic::new(Code::N0204, title, shape.span, "write sizes in `[ ]`: `[3, 32, 32]`"));
                None
            }
        };
        if let Err(first) = level.take(name) {
            let problem = twice(name, first, "name");
            self.report(problem);
            return None;
        }
        let id = ValueId::Input(self.net.inputs.len() as u32);
        let sizes = sizes.map(|sizes| sizes.iter().map(|size| size.value.unsigned_abs()).collect());
        let (text, has_gradient) = (name.text.clone(), *has_gradient);
        self.net.inputs.push(Input { name: text, shape: sizes, span: shape.span, has_gradient });
        scope.values.name(name, id);
        Some(name)
    }

    /// Looks a value up by name.
    fn value(&mut self, name: &ast::Ident, scope: &mut Scope<'a>) -> Option<ValueId> {
        match scope.values.find(name) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.report(*problem);
                None
            }
        }
    }

    fn asserted(&mut self, shape: &'a ast::Expr, scope: &mut Scope<'a>) -> Option<(Vec<Int>, Span)> {
        let ast::ExprKind::List(sizes) = &shape.kind else {
            let label = "write sizes in `[ ]`: `[8, 8, 8]`";
            self.report(Diagnostic::new(Code::N0204, "an asserted shape is a list", shape.span, label));
            return None;
        };
        Some((self.sizes(sizes, shape.span, scope)?, shape.span))
    }

    /// The sizes of a shape. None when one was reported.
    fn sizes(&mut self, sizes: &'a [ast::Expr], shape: Span, scope: &mut Scope<'a>) -> Option<Vec<Int>> {
        self.check_dimensions(sizes.len(), shape)?;
        let sizes: Vec<Option<Int>> = sizes.iter().map(|size| self.int_of_at_least(size, 1, scope, "a size")).collect();
        sizes.into_iter().collect()
    }

    /// None when a shape has more dimensions than allowed, which is reported.
    fn check_dimensions(&mut self, count: usize, shape: Span) -> Option<()> {
        if count > limits::DIMENSIONS {
            let title = format!("a shape of {} dimensions", ops::thousands(count as u64));
            let label = format!("at most {}", limits::DIMENSIONS);
            self.report(Diagnostic::new(Code::N0108, title, shape, label));
        }
        (count <= limits::DIMENSIONS).then_some(())
    }
}

/// Whether a layer reads values by name, and so can join the arms of a branch.
fn takes_values(layer: &dyn ops::Layer) -> bool {
    matches!(layer.decl().args, [ops::Arg { kind: Kind::Values, .. }])
}

fn twice(name: &ast::Ident, first: Span, what: &str) -> Diagnostic {
    let title = format!("the {what} `{}` is given twice", name.text);
    Diagnostic::new(Code::N0206, title, name.span, "the second").label(first, "the first")
}

fn uses_itself(what: &str, name: &str, used: Span, declared: Span) -> Diagnostic {
    Diagnostic::new(Code::N0207, format!("the {what} `{name}` uses itself"), used, "used inside itself")
        .label(declared, "declared here")
}
