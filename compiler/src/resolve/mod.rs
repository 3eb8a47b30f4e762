//! AST to net: parameters, arithmetic, block uses, names, shared instances, weights' names.
//!
//! After this pass there are no expressions, no blocks and no names to look up; `repeat` is still a loop. What cannot be
//! resolved is reported and stands in the net as [`LayerKind::Missing`], so that the shapes around it are still checked.

mod bind;
mod eval;
mod names;
mod train;
mod tricks;

use std::collections::{HashMap, HashSet};

use crate::ast::{self, Body, Spec, Statement, StatementKind};
use crate::diag::{Code, Diagnostic, Findings, Frame, did_you_mean, nearest};
use crate::fixes::Fixes;
use crate::net::{Input, LayerId, LayerKind, Net, NetLayer, Op, Output, Shared, SharedId, ValueId};
use crate::ops::{self, Int, Kind};
use crate::read::RESERVED;
use crate::source::{FileId, Sources, Span};
use crate::{Options, limits};
use names::{Level, Values};

/// Words that Rust keeps (edition 2024), and `_`.
const KEYWORDS: &[&str] = &[
    "Self", "_", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do",
    "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super",
    "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Bytes of a call that is pointed at as a whole.
const LINE: usize = 500;

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

    /// The block of a name, where the name stands.
    fn block(&self, name: &ast::Ident) -> Option<&'a ast::Block> {
        self.blocks.get(&name.span.file)?.get(name.text.as_str()).copied()
    }

    fn declare_blocks(&mut self, specs: &'a [Spec]) {
        for spec in specs {
            let mut own = HashMap::new();
            for block in &spec.blocks {
                self.declare_block(block, &mut own);
            }
            self.blocks.insert(spec.file, own);
        }
        // What a file uses it sees, but does not hand on.
        let own = self.blocks.clone();
        for spec in specs {
            for one in &spec.uses {
                let used = one.file.and_then(|file| own.get(&file));
                // In the order of the text, for the sake of what is told.
                let mut used: Vec<&'a ast::Block> = used.into_iter().flat_map(HashMap::values).copied().collect();
                used.sort_by_key(|block| block.name.span);
                for block in used {
                    let seen = self.blocks.entry(spec.file).or_default();
                    let first = *seen.entry(&block.name.text).or_insert(block);
                    if !std::ptr::eq(first, block) {
                        let title = format!("the block `{}` is given twice", block.name.text);
                        let label = format!("has a `{}`, too", block.name.text);
                        let problem = Diagnostic::new(Code::N0206, title, one.span, label);
                        self.report(
                            problem.label(first.name.span, "the first").label(block.name.span, "the second").note(
                                "a file sees its own blocks and those of the files that it uses, under one name each",
                            ),
                        );
                    }
                }
            }
        }
    }

    fn declare_block(&mut self, block: &'a ast::Block, own: &mut HashMap<&'a str, &'a ast::Block>) {
        let name = &block.name;
        if !self.check_name_is_free(name, "block") {
            return;
        }
        if let Some(first) = own.get(name.text.as_str()) {
            let problem = twice(name, first.name.span, "block");
            self.report(problem);
            return;
        }
        own.insert(&name.text, block);
        for (place, param) in block.params.iter().enumerate() {
            if let Some(first) = block.params[..place].iter().find(|first| first.name.text == param.name.text) {
                let problem = twice(&param.name, first.name.span, "parameter");
                self.report(problem);
                self.used_params.insert(param.name.span);
            }
        }
    }

    /// Reports a block or shared instance that is named like a layer or a statement.
    fn check_name_is_free(&mut self, name: &ast::Ident, what: &str) -> bool {
        let word = &name.text;
        let label = match RESERVED.contains(&word.as_str()) {
            true => "begins a statement",
            false if ops::layer(word).is_some() => "is a layer's name",
            false => return true,
        };
        let title = format!("`{word}` cannot name a {what}");
        self.report(Diagnostic::new(Code::N0215, title, name.span, label));
        false
    }

    /// Reports a model whose name no struct can have: a word of Rust, or a type that its code needs.
    fn check_model_name(&mut self, name: &ast::Ident) {
        let word = &*name.text;
        let label = match word {
            "f32" | "str" | "u64" | "usize" => "is a type of Rust's own",
            _ if KEYWORDS.contains(&word) => "is a word of Rust",
            _ => return,
        };
        let title = format!("`{word}` cannot name a model, which becomes a struct of Rust");
        self.report(Diagnostic::new(Code::N0215, title, name.span, label));
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

    fn declare_shared(&mut self, shared: &'a [ast::Shared], scope: &mut Scope<'a>, level: &mut Level) {
        for declared in shared {
            let name = &declared.name;
            if !self.check_name_is_free(name, "shared instance") {
                continue;
            }
            if let Some(block) = self.block(name) {
                let problem = twice(name, block.name.span, "name");
                self.report(problem);
            } else if let Err(first) = level.take(name) {
                let problem = twice(name, first, "name");
                self.report(problem);
            } else {
                let prefix = level.path(&name.text);
                scope.shared.push(SharedState { declared, prefix, sets: level.sets, id: None });
            }
        }
    }

    fn report_unused_shared(&mut self, scope: &Scope<'a>) {
        if self.over_limit {
            return;
        }
        for shared in scope.shared.iter().filter(|shared| shared.id.is_none()) {
            let name = &shared.declared.name;
            let title = format!("the shared `{}` is not used", name.text);
            self.report(Diagnostic::new(Code::N0903, title, name.span, "no statement uses it"));
        }
    }

    fn report_unused(&mut self, specs: &'a [Spec], model: &'a ast::Model) {
        if self.over_limit {
            return;
        }
        let used = self.used_blocks(model);
        let is_used = |block: &ast::Block| used.contains(&block.name.span);
        // A file's blocks are for several specs; but one of which nothing is used need not be named.
        for one in &specs[0].uses {
            let blocks = || specs.iter().filter(|spec| Some(spec.file) == one.file).flat_map(|spec| &spec.blocks);
            // One whose name another has was reported.
            let seen = self.blocks.get(&specs[0].file);
            let is_seen = |block: &'a ast::Block| {
                seen.and_then(|seen| seen.get(&*block.name.text)).is_some_and(|seen| std::ptr::eq(*seen, block))
            };
            if one.file.is_some() && blocks().all(is_seen) && !blocks().any(is_used) {
                let title = format!("no block of `{}` is used", one.path);
                self.report(Diagnostic::new(Code::N0902, title, one.span, "no statement uses one"));
            }
        }
        for block in specs.iter().flat_map(|spec| &spec.blocks) {
            let name = block.name.text.as_str();
            // One that was refused was reported.
            if !self.block(&block.name).is_some_and(|declared| std::ptr::eq(declared, block)) {
                continue;
            }
            if !used.contains(&block.name.span) {
                if block.name.span.file == model.name.span.file {
                    let title = format!("the block `{name}` is not used");
                    self.report(Diagnostic::new(Code::N0902, title, block.name.span, "no statement uses it"));
                }
            } else if self.resolved_blocks.contains(&block.name.span) {
                self.report_unused_params(&block.params, name);
            }
        }
        self.report_unused_params(&model.params, &model.name.text);
    }

    /// The blocks that the model names, or that such a block names, whether or not their uses are right, by their names' places.
    fn used_blocks(&self, model: &'a ast::Model) -> HashSet<Span> {
        let mut used = HashSet::new();
        let mut bodies: Vec<&'a Body> = model.shared.iter().map(|shared| &shared.body).chain([&model.body]).collect();
        while let Some(body) = bodies.pop() {
            for statement in &body.statements {
                match &statement.kind {
                    StatementKind::Call(call) => {
                        if let Some(block) = self.block(&call.name)
                            && used.insert(block.name.span)
                        {
                            bodies.push(&block.body);
                            bodies.extend(block.shared.iter().map(|shared| &shared.body));
                        }
                    }
                    StatementKind::Skip { body, project } => bodies.extend(std::iter::once(body).chain(project)),
                    StatementKind::Branch { arms, .. } => bodies.extend(arms),
                    StatementKind::Repeat { body, .. } => bodies.push(body),
                    StatementKind::From(_) | StatementKind::Missing => {}
                }
            }
        }
        used
    }

    fn report_unused_params(&mut self, params: &[ast::Param], of: &str) {
        for param in params {
            if !self.used_params.contains(&param.name.span) {
                let title = format!("the parameter `{}` of `{of}` is not used", param.name.text);
                self.report(Diagnostic::new(Code::N0901, title, param.name.span, "no expression reads it"));
            }
        }
    }

    /// Resolves a body into layers of the net.
    fn body(&mut self, body: &'a Body, scope: &mut Scope<'a>, level: &mut Level) -> Vec<LayerId> {
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
    fn reads_first_value(&self, body: &[LayerId]) -> bool {
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

    fn take(&mut self, label: &ast::Ident, level: &mut Level) {
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
    fn place(&mut self, kind: &str, statement: &Statement, level: &mut Level) -> String {
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

    /// A layer, a use of a shared instance, or a use of a block.
    fn call(
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

    fn layer(
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
        let path = if level.lends_its_place {
            level.prefix.clone()
        } else {
            self.place(&names::snake_case(name), statement, level)
        };
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

/// The parts of a `repeat`.
struct Repeat<'a> {
    count: &'a ast::Expr,
    tied: Option<Span>,
    unrolled: Option<Span>,
    body: &'a Body,
    statement: &'a Statement,
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
