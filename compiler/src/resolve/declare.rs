//! Blocks, shared instances and parameters: declared once, and used.

use std::collections::{HashMap, HashSet};

use super::names::Level;
use super::{Resolver, Scope, SharedState, twice};
use crate::ast::{Body, Spec, StatementKind};
use crate::diag::{Code, Diagnostic};
use crate::read::RESERVED;
use crate::source::Span;
use crate::{ast, ops};

/// Words that Rust keeps (edition 2024), and `_`.
pub(super) const KEYWORDS: &[&str] = &[
    "Self", "_", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do",
    "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super",
    "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

impl<'a> Resolver<'a> {
    /// The block of a name, where the name stands.
    pub(super) fn block(&self, name: &ast::Ident) -> Option<&'a ast::Block> {
        self.blocks.get(&name.span.file)?.get(name.text.as_str()).copied()
    }

    pub(super) fn declare_blocks(&mut self, specs: &'a [Spec]) {
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
    pub(super) fn check_model_name(&mut self, name: &ast::Ident) {
        let word = &*name.text;
        let label = match word {
            "f32" | "str" | "u64" | "usize" => "is a type of Rust's own",
            _ if KEYWORDS.contains(&word) => "is a word of Rust",
            _ => return,
        };
        let title = format!("`{word}` cannot name a model, which becomes a struct of Rust");
        self.report(Diagnostic::new(Code::N0215, title, name.span, label));
    }

    pub(super) fn declare_shared(&mut self, shared: &'a [ast::Shared], scope: &mut Scope<'a>, level: &mut Level) {
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

    pub(super) fn report_unused_shared(&mut self, scope: &Scope<'a>) {
        if self.over_limit {
            return;
        }
        for shared in scope.shared.iter().filter(|shared| shared.id.is_none()) {
            let name = &shared.declared.name;
            let title = format!("the shared `{}` is not used", name.text);
            self.report(Diagnostic::new(Code::N0903, title, name.span, "no statement uses it"));
        }
    }

    pub(super) fn report_unused(&mut self, specs: &'a [Spec], model: &'a ast::Model) {
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
}
