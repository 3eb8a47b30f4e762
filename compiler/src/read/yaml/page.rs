//! The tree as a page of a spec: keys are given their meaning, and plain scalars are read by the DSL's grammar.

use super::tree::{Entry, Kind, Node};
use super::{Page, missing};
use crate::ast::*;
use crate::diag::{Code, Diagnostic, nearest};
use crate::read::{limit_params, netspec};
use crate::source::Span;

/// The keys of the page itself.
const TOP: &[&str] = &["use", "model", "params", "input", "blocks", "shared", "layers", "output", "train"];
/// The keys of an input.
const INPUT: &[&str] = &["shape", "gradient"];
/// The keys of a block.
const BLOCK: &[&str] = &["params", "shared", "layers"];
/// The keys that stand beside a layer's name and so cannot be one.
const BESIDE: &[&str] = &["as", "shape", "project", "arms", "tied", "unrolled", "body"];

/// The keys that may stand beside a layer.
fn beside(head: &str) -> &'static [&'static str] {
    match head {
        "skip" => &["as", "shape", "project"],
        "branch" => &["as", "shape", "arms"],
        "repeat" => &["as", "shape", "tied", "unrolled", "body"],
        _ => &["as", "shape"],
    }
}

/// Whether a text is a name as the DSL's grammar has it.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a text is a label that is a number.
pub(super) fn is_place(text: &str) -> bool {
    let is_number = (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number && (text == "0" || !text.starts_with('0'))
}

/// Entries with their keys as names; a key that is no name was reported.
pub(super) type Fields<'n> = Vec<(Option<Ident>, &'n Node)>;

/// The value of a key.
fn field<'f, 'n>(fields: &'f Fields<'n>, key: &str) -> Option<(&'f Ident, &'n Node)> {
    fields.iter().find_map(|(name, value)| Some((name.as_ref().filter(|name| name.text == key)?, *value)))
}

impl Page<'_> {
    /// The whole page.
    pub(super) fn spec(&mut self, root: &Node) -> Spec {
        if matches!(root.kind, Kind::Empty) && !self.is_main {
            return Spec::default();
        }
        if matches!(root.kind, Kind::Empty) {
            let problem = Diagnostic::new(Code::N0111, "there is no model here", root.span.before(), "");
            self.report(problem.note("a spec begins with `model: Net`, `input: { image: [3, 32, 32] }` and `layers:`"));
            return Spec::default();
        }
        let Some(fields) = self.fields(root, "a spec", Some(TOP)) else {
            return Spec::default();
        };
        let of = |key| field(&fields, key);
        let uses = of("use").map_or_else(Vec::new, |(_, value)| self.uses(value));
        let is_of_blocks = || {
            let is_such = |name: &Ident| matches!(name.text.as_str(), "use" | "blocks");
            fields.iter().all(|(name, _)| name.as_ref().is_none_or(is_such))
        };
        let blocks = match of("blocks") {
            Some((_, value)) => self.named(value, "`blocks`", |page, name, value| page.block(name, value)),
            None => Vec::new(),
        };
        let name = match of("model") {
            Some((_, value)) => self.name(value, "the model's name"),
            None if !self.is_main && is_of_blocks() => None,
            None => {
                self.no_model(root);
                None
            }
        };
        let params = self.params(of("params"));
        let (inputs, inputs_are_read) = of("input").map_or((Vec::new(), true), |(_, value)| self.inputs(value));
        let shared = of("shared").map_or_else(Vec::new, |(_, value)| self.shared(value));
        let mut body = match of("layers") {
            Some((key, value)) => self.body(value, &quote(key)),
            None => {
                if let Some(name) = &name {
                    let title = format!("`{}` has no layers", name.text);
                    let problem = Diagnostic::new(Code::N0114, title, name.span, "no layer stands in it");
                    self.report(problem.note("write some, as in `layers: [ flatten, { linear: 10 } ]`"));
                }
                self.missing_body(root.span.after())
            }
        };
        if !inputs_are_read {
            body.statements.insert(0, missing(body.span.before()));
        }
        let outputs = of("output").map_or_else(Vec::new, |(_, value)| self.outputs(value));
        let train = of("train").and_then(|(key, value)| self.train(key, value));
        let model = name.map(|name| Model { name, params, inputs, shared, body, outputs });
        Spec { uses, model, blocks, train, ..Spec::default() }
    }

    /// A path, or a list of them, with or without quotes.
    fn uses(&mut self, node: &Node) -> Vec<Use> {
        let items = match &node.kind {
            Kind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let path = |page: &mut Self, item: &Node| {
            let path = match &item.kind {
                Kind::Text(text) => text.clone(),
                Kind::Plain => page.slice(item.span).to_owned(),
                _ => {
                    page.report_wrong("`use`", "the path of a file, or a list of them", item, None);
                    return None;
                }
            };
            Some(Use { path, span: item.span, file: None })
        };
        items.iter().filter_map(|item| path(self, item)).collect()
    }

    fn no_model(&mut self, root: &Node) {
        let place = root.span.before();
        let problem = Diagnostic::new(Code::N0111, "there is no `model` here", self.first_line(root.span), "")
            .note("a spec begins with `model: Net`");
        let is_block = matches!(&root.kind, Kind::Map(entries)
            if entries.first().is_some_and(|first| first.key.span.start == place.start));
        let begins_line = self.text[..place.start as usize].chars().next_back().is_none_or(|c| c == '\n');
        self.report(if is_block && begins_line {
            problem.fix("name the model", place, "model: Net\n")
        } else {
            problem
        });
    }

    fn block(&mut self, name: Ident, value: &Node) -> Option<Block> {
        let owner = format!("the block `{}`", name.text);
        let Some(fields) = self.fields(value, &owner, Some(BLOCK)) else {
            // Its uses are right, whatever it holds.
            let body = self.missing_body(value.span);
            return Some(Block { name, params: Vec::new(), shared: Vec::new(), body });
        };
        let params = self.params(field(&fields, "params"));
        let shared = field(&fields, "shared").map_or_else(Vec::new, |(_, value)| self.shared(value));
        let body = match field(&fields, "layers") {
            Some((key, value)) => self.body(value, &quote(key)),
            None => {
                let problem = Diagnostic::new(Code::N0114, format!("{owner} has no layers"), name.span, "")
                    .note("write some, as in `layers: [ { linear: 10 }, relu ]`");
                self.report(problem);
                self.missing_body(value.span)
            }
        };
        Some(Block { name, params, shared, body })
    }

    fn shared(&mut self, node: &Node) -> Vec<Shared> {
        self.named(node, "`shared`", |page, name, value| {
            let body = page.body(value, &quote(&name));
            Some(Shared { name, body })
        })
    }

    /// The parameters that a model or block declares under this key.
    fn params(&mut self, field: Option<(&Ident, &Node)>) -> Vec<Param> {
        let mut params = field.map_or_else(Vec::new, |(_, value)| self.params_in(value));
        if let Some(problem) = limit_params(&mut params) {
            self.report(problem);
        }
        params
    }

    /// `{ n: 32, k }` or `[n, { k: 3 }]`. One whose default cannot be read has a value all the same.
    fn params_in(&mut self, node: &Node) -> Vec<Param> {
        match &node.kind {
            Kind::List(items) => items
                .iter()
                .flat_map(|item| match item.kind {
                    Kind::Map(_) => self.params_in(item),
                    _ => self
                        .name(item, "a parameter's name")
                        .map(|name| Param { name, default: None })
                        .into_iter()
                        .collect(),
                })
                .collect(),
            _ => self.named(node, "`params`", |page, name, value| {
                let default = match value.kind {
                    Kind::Empty => None,
                    _ => {
                        Some(page.expr(value, &name.text).unwrap_or(Expr { kind: ExprKind::Missing, span: value.span }))
                    }
                };
                Some(Param { name, default })
            }),
        }
    }

    /// The inputs, and whether all could be read.
    fn inputs(&mut self, node: &Node) -> (Vec<Input>, bool) {
        if !matches!(node.kind, Kind::Map(_)) {
            let is_shape = matches!(node.kind, Kind::List(_));
            let fix = is_shape.then(|| self.wrap("name the input", "{ image: ", node, " }")).flatten();
            self.report_wrong("`input`", "a mapping of names to shapes", node, fix);
            return (Vec::new(), false);
        }
        let inputs = self.named(node, "`input`", |page, name, value| page.input(name, value));
        let are_read = matches!(&node.kind, Kind::Map(entries) if entries.len() == inputs.len());
        (inputs, are_read)
    }

    /// `[3, 32, 32]` or `{ shape: [3, 32, 32], gradient: true }`.
    fn input(&mut self, name: Ident, node: &Node) -> Option<Input> {
        if !matches!(node.kind, Kind::Map(_)) {
            return self.shape(node, &name.text).map(|shape| Input { name, shape, has_gradient: false });
        }
        let owner = format!("the input `{}`", name.text);
        let fields = self.fields(node, &owner, Some(INPUT))?;
        let Some((_, shape)) = field(&fields, "shape") else {
            self.report_wrong(&owner, "a shape, or a mapping with the key `shape`", node, None);
            return None;
        };
        let has_gradient = match field(&fields, "gradient") {
            None => false,
            Some((key, value)) => match self.expr(value, &key.text)?.kind {
                ExprKind::Word(word) if word == "true" || word == "false" => word == "true",
                _ => {
                    self.report_wrong("`gradient`", "true or false", value, None);
                    return None;
                }
            },
        };
        self.shape(shape, &name.text).map(|shape| Input { name, shape, has_gradient })
    }

    fn outputs(&mut self, node: &Node) -> Vec<Ident> {
        let what = "an output's name";
        match &node.kind {
            Kind::List(names) => names.iter().filter_map(|name| self.name(name, what)).collect(),
            _ => self.name(node, what).into_iter().collect(),
        }
    }

    /// None when a setting cannot be read: a training is complete or it is nothing.
    fn train(&mut self, key: &Ident, node: &Node) -> Option<Train> {
        let fields = self.fields(node, "`train`", None)?;
        let wanted = fields.len();
        let settings: Vec<Setting> = fields
            .into_iter()
            .filter_map(|(key, value)| {
                let value = self.expr(value, key.as_ref().map_or("", |key| &key.text));
                Some(Setting { key: key?, value: value? })
            })
            .collect();
        (settings.len() == wanted).then_some(Train { model: None, settings, head: key.span })
    }

    /// A list of layers, which `owner` is to be.
    fn body(&mut self, node: &Node, owner: &str) -> Body {
        match &node.kind {
            Kind::List(items) if !items.is_empty() => {
                let statements = items.iter().map(|item| self.statement(item)).collect();
                return Body { statements, span: items[0].span.to(items[items.len() - 1].span) };
            }
            Kind::List(_) | Kind::Empty => {
                let text = if matches!(node.kind, Kind::Empty) { " [identity]" } else { "[identity]" };
                let place = self.place_of_nothing(node);
                let problem =
                    Diagnostic::new(Code::N0114, format!("{owner} has no layers"), place, "no layer stands here");
                self.report(problem.fix("write `identity` where nothing shall change", node.span, text));
            }
            Kind::Map(_) => {
                let title = format!("{owner} is a list of layers, found a mapping");
                let label = "begin each layer with `- `";
                self.report(Diagnostic::new(Code::N0112, title, self.first_line(node.span), label));
            }
            _ => {
                let fix = self.wrap("put it into a list", "[", node, "]");
                self.report_wrong(owner, "a list of layers", node, fix);
            }
        }
        self.missing_body(node.span)
    }

    /// An item of a list of layers.
    fn statement(&mut self, item: &Node) -> Statement {
        let mut statement = missing(item.span);
        match &item.kind {
            Kind::Map(_) => self.layer(item, &mut statement),
            Kind::Plain if is_name(self.slice(item.span)) => {
                let name = Ident { text: self.slice(item.span).to_owned(), span: item.span };
                if self.is_bare_layer(&name) {
                    statement.kind = StatementKind::Call(Call { name, args: Vec::new(), span: item.span });
                }
            }
            Kind::Plain => self.no_layer(item),
            _ => self.report_wrong("an item of a list of layers", "a word or a mapping", item, None),
        }
        statement
    }

    /// Whether a word alone can be a layer: one that begins a statement cannot.
    fn is_bare_layer(&mut self, name: &Ident) -> bool {
        let (title, note) = match name.text.as_str() {
            "skip" => ("`skip` has no layers", "write `- skip: [ … ]`"),
            "branch" => ("`branch` has no arms", "write `- branch: add` and beside it `arms: [ [ … ], [ … ] ]`"),
            "repeat" => ("`repeat` has no count", "write `- repeat: 10` and beside it `body: [ … ]`"),
            "from" => ("`from` has no name", "write `- from: name`"),
            _ => return self.is_layer_name(name),
        };
        self.report(Diagnostic::new(Code::N0112, title, name.span, "").note(note));
        false
    }

    /// Whether a name can be a layer's.
    fn is_layer_name(&mut self, name: &Ident) -> bool {
        let is_reserved = netspec::RESERVED.contains(&name.text.as_str());
        if is_reserved {
            let title = format!("`{}` is a word of the language and cannot name a layer", name.text);
            self.report(Diagnostic::new(Code::N0215, title, name.span, "a layer is wanted here"));
        }
        !is_reserved
    }

    /// A plain scalar among the layers that is not a word.
    fn no_layer(&mut self, item: &Node) {
        let text = self.slice(item.span);
        let mut problem = Diagnostic::new(
            Code::N0112,
            format!("{} is no layer", self.quoted(item.span)),
            self.first_line(item.span),
            "a layer is a word or a mapping",
        );
        match text.split_once('(') {
            Some((name, args)) if is_name(name) => {
                let arg = args.strip_suffix(')').filter(|arg| !arg.contains(['(', ')', '=', '\n']));
                problem = match arg {
                    Some("") => problem.fix("write the word alone", item.span, name),
                    Some(arg) => problem.fix("write a mapping", item.span, format!("{{ {name}: {arg} }}")),
                    None => problem.note(format!("write `{name}: {{ argument: value, … }}`")),
                };
            }
            _ => problem = problem.note("write `- relu`, `- linear: 32` or `- conv: { out: 8, kernel: 3 }`"),
        }
        self.report(problem);
    }

    /// An item that is a map: a layer's name and its arguments, and what stands beside them.
    fn layer(&mut self, item: &Node, statement: &mut Statement) {
        let Some(mut fields) = self.fields(item, "a layer", None) else { return };
        let is_head = |name: &Ident| !BESIDE.contains(&name.text.as_str());
        let Some((head, value)) = fields.iter().find_map(|(name, value)| Some((name.clone().filter(is_head)?, *value)))
        else {
            if fields.iter().all(|(name, _)| name.is_some()) {
                let place = self.first_line(item.span);
                let problem = Diagnostic::new(Code::N0112, "this item has no layer", place, "")
                    .note("the layer's name comes first: `- conv: { out: 8, kernel: 3 }`");
                self.report(problem);
            }
            return;
        };
        statement.head = head.span;
        for name in fields.iter_mut().filter_map(|(name, _)| name.as_mut()) {
            if name.span != head.span && !self.is_full() {
                self.check_beside(name, &head);
            }
        }
        if let Some((_, value)) = field(&fields, "as") {
            statement.name = self.label(value);
        }
        if let Some((_, value)) = field(&fields, "shape") {
            statement.shape = self.shape(value, "shape");
        }
        let kind = match head.text.as_str() {
            "skip" => {
                let body = self.body(value, &quote(&head));
                let project = field(&fields, "project").map(|(key, value)| self.body(value, &quote(key)));
                Some(StatementKind::Skip { body, project })
            }
            "branch" => {
                let join = self.name(value, "the joining layer's name");
                let arms = self.part(&fields, "arms", &head).and_then(|(key, value)| self.arms(value, key));
                join.zip(arms).map(|(join, arms)| StatementKind::Branch { join, arms })
            }
            "repeat" => {
                let count = self.expr(value, "repeat");
                let tied = self.flag(&fields, "tied");
                let unrolled = self.flag(&fields, "unrolled");
                let body = self.part(&fields, "body", &head).map(|(key, value)| self.body(value, &quote(key)));
                count.zip(body).map(|(count, body)| StatementKind::Repeat { count, tied, unrolled, body })
            }
            "from" => self.name(value, "the name behind `from`").map(StatementKind::From),
            _ if !self.is_layer_name(&head) => None,
            _ => self.call(head, value).map(StatementKind::Call),
        };
        if let Some(kind) = kind {
            statement.kind = kind;
        }
    }

    /// Reports a key that cannot stand beside the layer `head`; one that is only misspelt is taken for what is meant.
    fn check_beside(&mut self, name: &mut Ident, head: &Ident) {
        let (word, allowed) = (name.text.as_str(), beside(&head.text));
        if allowed.contains(&word) {
            return;
        }
        let meant = if word == "name" { Some("as") } else { nearest(word, allowed.iter().copied()) };
        let problem = if BESIDE.contains(&word) {
            let owner = ["skip", "branch", "repeat"].into_iter().find(|owner| beside(owner).contains(&word));
            let title = format!("`{word}` belongs to `{}`, not to `{}`", owner.unwrap_or_default(), head.text);
            Diagnostic::new(Code::N0106, title, name.span, "unknown key here").label(head.span, "the layer")
        } else if let Some(meant) = meant {
            let problem = unknown_key(name, Some(meant)).label(head.span, "beside this layer");
            meant.clone_into(&mut name.text);
            problem
        } else {
            Diagnostic::new(Code::N0106, format!("a second layer, `{word}`, in one item"), name.span, "the second")
                .label(head.span, "the first")
                .note(format!("make it an item of its own, behind `- `, or an argument of `{}`", head.text))
        };
        self.report(problem);
    }

    /// A key that `head` cannot be without.
    fn part<'f, 'n>(&mut self, fields: &'f Fields<'n>, key: &str, head: &Ident) -> Option<(&'f Ident, &'n Node)> {
        let part = field(fields, key);
        if part.is_none() {
            let layers = if key == "arms" { "[ [ … ], [ … ] ]" } else { "[ … ]" };
            let problem = Diagnostic::new(Code::N0114, format!("`{}` has no `{key}`", head.text), head.span, "")
                .note(format!("write `{key}: {layers}` beside it, in the same item"));
            self.report(problem);
        }
        part
    }

    fn arms(&mut self, node: &Node, key: &Ident) -> Option<Vec<Body>> {
        match &node.kind {
            Kind::List(arms) if !arms.is_empty() => Some(arms.iter().map(|arm| self.body(arm, "an arm")).collect()),
            Kind::List(_) | Kind::Empty => {
                let problem = Diagnostic::new(Code::N0114, "`branch` has no arms", key.span, "nothing is listed here");
                self.report(
                    problem.note("write `arms: [ [ … ], [ … ] ]`; `[identity]` is an arm that changes nothing"),
                );
                None
            }
            _ => {
                self.report_wrong("`arms`", "a list of lists of layers", node, None);
                None
            }
        }
    }

    /// Where a flag is set.
    fn flag(&mut self, fields: &Fields<'_>, key: &str) -> Option<Span> {
        let (name, value) = field(fields, key)?;
        match (&value.kind, self.slice(value.span)) {
            (Kind::Plain, "true") => Some(name.span),
            (Kind::Plain, "false") => None,
            _ => {
                self.report_wrong(&format!("`{key}`"), "`true` or `false`", value, None);
                None
            }
        }
    }

    /// The entries of a map, which `owner` is to be, with keys of `known` if that is given; a key that is only misspelt is
    /// taken for what is meant.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, owner: &str, known: Option<&[&str]>) -> Option<Fields<'n>> {
        let Kind::Map(entries) = &node.kind else {
            let wanted = match known {
                None => "a mapping".to_owned(),
                Some(TOP) => "a mapping with the keys `model` and `layers`".to_owned(),
                Some(_) => "a mapping with the key `layers`".to_owned(),
            };
            self.report_wrong(owner, &wanted, node, None);
            return None;
        };
        let mut fields = Vec::with_capacity(entries.len());
        for Entry { key, value } in entries {
            if self.is_full() {
                return None;
            }
            let mut name = self.name(key, "a key");
            if let (Some(name), Some(known)) = (&mut name, known)
                && !known.contains(&name.text.as_str())
            {
                let meant = nearest(&name.text, known.iter().copied());
                let problem = unknown_key(name, meant);
                self.report(problem.note_without_fix(|| format!("the keys of {owner} are `{}`", known.join("`, `"))));
                if let Some(meant) = meant {
                    meant.clone_into(&mut name.text);
                }
            }
            fields.push((name, value));
        }
        Some(fields)
    }

    /// What `read` makes of the entries of a map, which `owner` is to be.
    fn named<T>(
        &mut self,
        node: &Node,
        owner: &str,
        mut read: impl FnMut(&mut Self, Ident, &Node) -> Option<T>,
    ) -> Vec<T> {
        let fields = self.fields(node, owner, None).unwrap_or_default();
        fields.into_iter().filter_map(|(name, value)| read(self, name?, value)).collect()
    }
}

/// A key that is not known where it stands.
fn unknown_key(name: &Ident, meant: Option<&str>) -> Diagnostic {
    let title = format!("unknown key `{}`", name.text);
    match meant {
        Some(meant) => Diagnostic::new(Code::N0106, title, name.span, format!("did you mean `{meant}`?")).fix(
            "use the known key",
            name.span,
            meant,
        ),
        None => Diagnostic::new(Code::N0106, title, name.span, "no such key here"),
    }
}

fn quote(name: &Ident) -> String {
    format!("`{}`", name.text)
}
