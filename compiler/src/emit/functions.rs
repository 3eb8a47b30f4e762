//! Plans as functions: one for each loop and direction, and one for each pass.

use std::collections::{HashMap, HashSet};

use super::calls::{Around, Calls, Geometries, Loops, offset};
use super::text::{Lines, grouped};
use crate::check::Checked;
use crate::ir::Program;
use crate::net::LayerId;
use crate::plan::{self, GradientGroup, Plan};
use crate::schedule::{Begin, Call, Kernel, LoopId, Node, Repeated, Step};
use crate::source::Sources;

/// One pass to be printed.
pub(super) struct Pass<'a> {
    pub(super) checked: &'a Checked,
    pub(super) sources: &'a Sources,
    pub(super) program: &'a Program,
    pub(super) plan: &'a Plan,
    /// `train`, `infer`, `evaluate` or `input_gradients`: what functions of its loops end in, unless [`directions`] says otherwise.
    pub(super) name: &'static str,
}

/// What functions of both directions are called, forward and backward.
fn directions(pass: &str) -> [&str; 2] {
    match pass {
        "train" => ["forward", "backward"],
        "input_gradients" => ["forward_for_inputs", "backward_to_inputs"],
        name => [name, name],
    }
}

/// Prints the functions of a pass below `lines`: the pass itself, and its loops.
pub(super) fn functions(pass: &Pass<'_>, geometries: &mut Geometries, names: &mut HashSet<String>, lines: &mut Lines) {
    let calls = Calls { program: pass.program, plan: pass.plan, geometries };
    let mut printer = Printer { pass, calls, names, later: Vec::new(), begins: HashMap::new(), last_layer: None };
    printer.pass(lines);
}

struct Printer<'a, 'b> {
    pass: &'b Pass<'a>,
    calls: Calls<'b>,
    names: &'b mut HashSet<String>,
    /// Functions of loops, printed behind the one that calls them.
    later: Vec<String>,
    /// Of each loop that begins early, the function of that, and the loops' variables that it takes.
    begins: HashMap<LoopId, (String, Vec<String>)>,
    /// The layer whose comment was printed last in this function.
    last_layer: Option<LayerId>,
}

impl Printer<'_, '_> {
    fn pass(&mut self, lines: &mut Lines) {
        let steps = &self.pass.plan.schedule.steps;
        let name = self.pass.name;
        match steps.as_slice() {
            // One stage: forward, loss and backward of a tile together.
            [Step::Stage(nodes), rest @ ..] if rest.iter().all(|step| matches!(step, Step::Whole(_))) => {
                let groups = plan::gradient_groups(self.pass.program, nodes, &[]);
                // From the first output's loss to the last one's.
                let is_loss = |node: &Node| matches!(node, Node::Call(call) if is_loss(call));
                let loss = nodes.iter().position(is_loss).zip(nodes.iter().rposition(is_loss));
                let [forward, backward] = directions(name);
                lines.line(format!("fn pass_{name}(run: &mut Run<'_>) {{"));
                lines.line(format!("run.stage({}, |t| {{", folds(&groups, &Vec::new())));
                match loss {
                    None => self.nodes(nodes, &Vec::new(), &groups, lines),
                    Some((first, last)) => {
                        lines.line(format!("Self::{forward}(t);"));
                        self.nodes(&nodes[first..=last], &Vec::new(), &groups, lines);
                        if last + 1 < nodes.len() {
                            lines.line(format!("Self::{backward}(t);"));
                        }
                    }
                }
                lines.line("});");
                rest.iter().for_each(|step| self.step(step, &Vec::new(), lines));
                lines.line("}");
                if let Some((first, last)) = loss {
                    for (direction, nodes) in [(forward, &nodes[..first]), (backward, &nodes[last + 1..])] {
                        if nodes.is_empty() {
                            continue;
                        }
                        self.last_layer = None;
                        lines.line("");
                        lines.line(format!("fn {direction}(t: &mut Tile<'_>) {{"));
                        self.nodes(nodes, &Vec::new(), &groups, lines);
                        lines.line("}");
                    }
                }
            }
            steps => {
                lines.line(format!("fn pass_{name}(run: &mut Run<'_>) {{"));
                steps.iter().for_each(|step| self.step(step, &Vec::new(), lines));
                lines.line("}");
            }
        }
        for function in std::mem::take(&mut self.later) {
            lines.line("");
            function.lines().for_each(|line| lines.line(line.trim_start()));
        }
    }

    fn step(&mut self, step: &Step, loops: &Loops, lines: &mut Lines) {
        match step {
            // A kernel of tiles, which takes the batch as one.
            Step::Whole(call) if matches!(call.kernel, Kernel::Op(_)) => {
                lines.line("run.at_once(|t| {");
                self.call(call, loops, &[], lines);
                lines.line("});");
            }
            Step::Whole(call) => self.call(call, loops, &[], lines),
            Step::Stage(nodes) => {
                let layers: Vec<LayerId> = loops.iter().map(|around| around.layer).collect();
                let groups = plan::gradient_groups(self.pass.program, nodes, &layers);
                lines.line(format!("run.stage({}, |t| {{", folds(&groups, loops)));
                self.nodes(nodes, loops, &groups, lines);
                lines.line("});");
            }
            Step::Loop(looped) => {
                let call = self.looped(looped, "run: &mut Run<'_>", loops, |this, inner, body| {
                    looped.body.iter().for_each(|step| this.step(step, inner, body));
                });
                lines.line(call);
            }
        }
    }

    fn nodes(&mut self, nodes: &[Node], loops: &Loops, groups: &[GradientGroup], lines: &mut Lines) {
        nodes.iter().for_each(|node| self.node(node, loops, groups, lines));
    }

    fn node(&mut self, node: &Node, loops: &Loops, groups: &[GradientGroup], lines: &mut Lines) {
        match node {
            Node::Call(call) => self.call(call, loops, groups, lines),
            Node::Loop(looped) => {
                let call = self.looped(looped, "t: &mut Tile<'_>", loops, |this, inner, body| {
                    this.nodes(&looped.body, inner, groups, body);
                });
                lines.line(call);
            }
            Node::Begin(begin) => self.begin(begin, loops, lines),
        }
    }

    /// Prints the call that begins an iteration in the stage before it: of the first one before the loop, of the next one in the loop.
    fn begin(&mut self, begin: &Begin, loops: &Loops, lines: &mut Lines) {
        let Begin { looped, is_next } = begin;
        let outer = if *is_next { &loops[..loops.len() - 1] } else { loops.as_slice() };
        let variable = variable(outer.len());
        let (name, read) = match self.begins.get(&looped.id) {
            Some(known) => known.clone(),
            None => self.beginning(looped, outer),
        };
        let argument = |of: &String| match (*of == variable, is_next, looped.reversed) {
            (false, ..) => of.clone(),
            (true, true, false) => format!("{variable} + 1"),
            (true, true, true) => format!("{variable} - 1"),
            (true, false, false) => "0".to_owned(),
            (true, false, true) => grouped(looped.count - 1),
        };
        let arguments: String = read.iter().map(|of| format!(", {}", argument(of))).collect();
        let call = format!("Self::{name}(t{arguments});");
        if *is_next {
            let has_next = if looped.reversed {
                format!("{variable} > 0")
            } else {
                format!("{variable} + 1 < {}", grouped(looped.count))
            };
            lines.line(format!("if {has_next} {{"));
            lines.line(call);
            lines.line("}");
        } else {
            lines.line(call);
        }
        // Another layer's call follows.
        self.last_layer = None;
    }

    /// Prints how an iteration of a loop begins as a function; gives its name and the variables that it takes.
    fn beginning(&mut self, looped: &Repeated<Node>, outer: &[Around]) -> (String, Vec<String>) {
        let mut loops = outer.to_vec();
        loops.push(Around { layer: looped.layer, variable: variable(outer.len()), count: looped.count });
        let name = self.unique(format!("{}_{}_begin", stem(&looped.name), self.direction(looped.reversed)));
        let last_layer = self.last_layer.take();
        let at = self.later.len();
        let mut calls = Lines::at(1);
        self.nodes(&looped.body, &loops, &[], &mut calls);
        self.last_layer = last_layer;
        let variables = loops.into_iter().map(|around| around.variable);
        let read: Vec<String> = variables.filter(|variable| reads(&calls, variable)).collect();
        let mut function = Lines::default();
        function.comment(
            "///",
            &format!("{}: an iteration's first stage, a part of the one before", self.place(looped.layer)),
        );
        let parameters: String = read.iter().map(|variable| format!(", {variable}: usize")).collect();
        function.line(format!("fn {name}(t: &mut Tile<'_>{parameters}) {{"));
        calls.text.lines().for_each(|line| function.line(line.trim_start()));
        function.line("}");
        self.later.insert(at, function.text);
        self.begins.insert(looped.id, (name.clone(), read.clone()));
        (name, read)
    }

    /// What functions of loops end in.
    fn direction(&self, reversed: bool) -> &'static str {
        directions(self.pass.name)[usize::from(reversed)]
    }

    /// A function's name that no other has: with a number, if it must be.
    fn unique(&mut self, stem: String) -> String {
        let mut name = stem.clone();
        let mut number = 2;
        while !self.names.insert(name.clone()) {
            name = format!("{stem}_{number}");
            number += 1;
        }
        name
    }

    /// Prints a loop as a function, and gives the call of it.
    fn looped<T>(
        &mut self,
        looped: &Repeated<T>,
        on: &str,
        loops: &Loops,
        body: impl FnOnce(&mut Self, &Loops, &mut Lines),
    ) -> String {
        let variable = variable(loops.len());
        let mut inner = loops.clone();
        inner.push(Around { layer: looped.layer, variable: variable.clone(), count: looped.count });
        let name = self.unique(format!("{}_{}", stem(&looped.name), self.direction(looped.reversed)));
        let mut function = Lines::default();
        let last_layer = self.last_layer.take();
        let at = self.later.len();
        let mut calls = Lines::at(2);
        body(self, &inner, &mut calls);
        self.last_layer = last_layer;
        // Tied weights and the like do not ask which iteration it is.
        let read: Vec<&str> = loops.iter().map(|around| &*around.variable).filter(|it| reads(&calls, it)).collect();
        function.comment("///", &self.place(looped.layer));
        let outer: String = read.iter().map(|variable| format!(", {variable}: usize")).collect();
        function.line(format!("fn {name}({on}{outer}) {{"));
        let range = format!("0..{}", grouped(looped.count));
        let range = if looped.reversed { format!("({range}).rev()") } else { range };
        let variable = if reads(&calls, &variable) { &variable } else { "_" };
        function.line(format!("for {variable} in {range} {{"));
        calls.text.lines().for_each(|line| function.line(line.trim_start()));
        function.line("}");
        function.line("}");
        // Before the loops inside it.
        self.later.insert(at, function.text);
        let on = on.split(':').next().unwrap_or_default();
        let outer: String = read.iter().map(|variable| format!(", {variable}")).collect();
        format!("Self::{name}({on}{outer});")
    }

    fn call(&mut self, call: &Call, loops: &Loops, groups: &[GradientGroup], lines: &mut Lines) {
        if self.last_layer != Some(call.layer) {
            self.last_layer = Some(call.layer);
            lines.comment("//", &self.place(call.layer));
        }
        let layer = self.pass.checked.net.layer(call.layer);
        let name = if layer.path.is_empty() { &layer.name } else { &layer.path };
        let text = self.calls.call(call, name, loops, groups);
        lines.line(format!("{text};"));
    }

    /// ``specs/net.yaml:7 `conv: { … }` ``
    fn place(&self, layer: LayerId) -> String {
        let layer = self.pass.checked.net.layer(layer);
        let path = &self.pass.sources.file(layer.head.file).path;
        let line = self.pass.sources.line(layer.head);
        let words = self.pass.sources.text(layer.call).split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{path}:{line} `{words}`")
    }
}

/// The variable of a loop inside so many others.
fn variable(depth: usize) -> String {
    if depth == 0 { "l".to_owned() } else { format!("l{}", depth + 1) }
}

/// `resblocks.*.r__` as the beginning of a function's name: `resblocks_r`.
fn stem(repeat: &str) -> String {
    let name = repeat.to_lowercase();
    let words: Vec<&str> = name.split(['.', '_', '*']).filter(|word| !word.is_empty()).collect();
    let stem = words.join("_");
    // Labels such as `_` and `_2`.
    if stem.starts_with(|first: char| first.is_ascii_alphabetic()) { stem } else { format!("repeat{stem}") }
}

/// Whether calls read a loop's variable.
fn reads(calls: &Lines, variable: &str) -> bool {
    let code = calls.text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')).any(|word| word == variable)
}

fn is_loss(call: &Call) -> bool {
    matches!(call.kernel, Kernel::Op(crate::ir::Kind::Loss(_)))
}

/// `&[Fold { from: 0, to: 896 + l * 9_280, len: 9_280 }]`
fn folds(groups: &[GradientGroup], loops: &Loops) -> String {
    let folds: Vec<String> = groups
        .iter()
        .map(|group| {
            let to = offset(group.first, &group.outer, loops);
            format!("Fold {{ from: {}, to: {to}, len: {} }}", grouped(group.local), grouped(group.len))
        })
        .collect();
    format!("&[{}]", folds.join(", "))
}
