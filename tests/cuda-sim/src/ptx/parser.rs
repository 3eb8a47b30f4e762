//! Tokens to [`Source`].

use super::PtxError;
use super::lexer::{self, Kind, Token};
use super::syntax::{Function, Item, Operand, Source, Statement, Variable};
use super::types::{Space, Type};

type Parsed<T> = Result<T, PtxError>;

/// Reads a module.
///
/// # Errors
///
/// The first thing that is not PTX, with its line.
pub(crate) fn parse(text: &str) -> Parsed<Source<'_>> {
    let mut parser = Parser { text, tokens: lexer::tokens(text)?, at: 0, loc: None };
    let mut source = Source::default();
    while parser.peek() != Kind::End {
        parser.module_item(&mut source)?;
    }
    Ok(source)
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
    at: usize,
    loc: Option<(u32, u32)>,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Kind<'a> {
        self.tokens[self.at].kind
    }

    fn line(&self) -> u32 {
        self.tokens[self.at].line
    }

    fn next(&mut self) -> Kind<'a> {
        let kind = self.peek();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        kind
    }

    fn wanted<T>(&self, what: &str) -> Parsed<T> {
        let found = match self.peek() {
            Kind::Word(word) => format!("`{word}`"),
            Kind::Text(text) => format!("{text:?}"),
            Kind::Mark(mark) => format!("`{mark}`"),
            Kind::End => "the end of the text".into(),
        };
        Err(PtxError::new(self.line(), format!("{what} should stand here, but {found} does")))
    }

    fn take(&mut self, mark: char) -> bool {
        let found = self.peek() == Kind::Mark(mark);
        if found {
            self.next();
        }
        found
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let found = self.peek() == Kind::Word(wanted);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, mark: char) -> Parsed<()> {
        if self.take(mark) { Ok(()) } else { self.wanted(&format!("`{mark}`")) }
    }

    fn word(&mut self, what: &str) -> Parsed<&'a str> {
        match self.peek() {
            Kind::Word(word) => {
                self.next();
                Ok(word)
            }
            _ => self.wanted(what),
        }
    }

    fn integer(&mut self) -> Parsed<u64> {
        let negative = self.take('-');
        let value = match self.peek() {
            Kind::Word(word) => number(word),
            _ => None,
        };
        let Some(value) = value else { return self.wanted("a number") };
        self.next();
        Ok(if negative { value.wrapping_neg() } else { value })
    }

    /// `first item, item last`
    fn list<T>(&mut self, last: char, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        while !self.take(last) {
            items.push(item(self)?);
            if !self.take(',') {
                self.expect(last)?;
                break;
            }
        }
        Ok(items)
    }

    /// What stands in braces and is not for us.
    fn skip_braces(&mut self) -> Parsed<()> {
        let mut depth = 0;
        loop {
            match self.next() {
                Kind::Mark('{') => depth += 1,
                Kind::Mark('}') if depth == 1 => return Ok(()),
                Kind::Mark('}') => depth -= 1,
                Kind::End => return self.wanted("`}`"),
                _ => {}
            }
        }
    }

    fn module_item(&mut self, source: &mut Source<'a>) -> Parsed<()> {
        match self.peek() {
            Kind::Word(".version" | ".address_size") => {
                self.next();
                self.word("its value")?;
            }
            Kind::Word(".target") => {
                self.next();
                self.word("a target")?;
                while self.take(',') {
                    self.word("a target")?;
                }
            }
            Kind::Word(".file") => {
                self.next();
                let index = self.integer()? as u32;
                let Kind::Text(name) = self.next() else { return self.wanted("a file's name") };
                source.files.push((index, name));
                while self.take(',') {
                    self.integer()?;
                }
            }
            Kind::Word(".section") => {
                self.next();
                self.word("a section's name")?;
                self.skip_braces()?;
            }
            Kind::Word(".pragma") => self.pragma()?,
            Kind::Mark(';') => {
                self.next();
            }
            _ => self.declaration(source)?,
        }
        Ok(())
    }

    fn pragma(&mut self) -> Parsed<()> {
        while !self.take(';') {
            if self.next() == Kind::End {
                return self.wanted("`;`");
            }
        }
        Ok(())
    }

    fn declaration(&mut self, source: &mut Source<'a>) -> Parsed<()> {
        while matches!(self.peek(), Kind::Word(".visible" | ".extern" | ".weak" | ".common")) {
            self.next();
        }
        match self.peek() {
            Kind::Word(".entry" | ".func") => {
                let function = self.function()?;
                source.functions.push(function);
            }
            Kind::Word(".global" | ".const" | ".shared") => {
                let variable = self.variable()?;
                self.expect(';')?;
                source.variables.push(variable);
            }
            _ => return self.wanted("a kernel, a function or a variable"),
        }
        Ok(())
    }

    fn function(&mut self) -> Parsed<Function<'a>> {
        let line = self.line();
        let entry = self.word(".entry or .func")? == ".entry";
        self.take_word(".noreturn");
        let results = if self.take('(') { self.list(')', Self::variable)? } else { Vec::new() };
        let name = self.word("a function's name")?;
        let params = if self.take('(') { self.list(')', Self::variable)? } else { Vec::new() };
        let mut max_threads = None;
        loop {
            match self.peek() {
                Kind::Word(".maxntid" | ".reqntid") => {
                    self.next();
                    let mut threads = self.integer()?;
                    while self.take(',') {
                        threads *= self.integer()?;
                    }
                    max_threads = Some(threads as u32);
                }
                Kind::Word(".minnctapersm" | ".maxnreg") => {
                    self.next();
                    self.integer()?;
                }
                Kind::Word(".noreturn") => {
                    self.next();
                }
                Kind::Word(".pragma") => self.pragma()?,
                _ => break,
            }
        }
        self.loc = None;
        let body = if self.take(';') { None } else { Some(self.block()?) };
        Ok(Function { line, entry, name, results, params, max_threads, body })
    }

    /// `.shared .align 4 .b8 name[64]`, `.param .u64 .ptr .global .align 1 name`, `.global .u32 name[2] = {1, 2}`
    fn variable(&mut self) -> Parsed<Variable<'a>> {
        let line = self.line();
        let space = match self.word("a state space")? {
            ".param" => Space::Param,
            ".shared" => Space::Shared,
            ".local" => Space::Local,
            ".global" | ".const" => Space::Global,
            // The parameters of an old-style function, and no place in memory.
            other => return Err(PtxError::new(line, format!("a variable in `{other}` is not supported"))),
        };
        let (mut ty, mut align, mut pointer, mut vector) = (None, None, false, 1);
        let name = loop {
            match self.word("a variable's name")? {
                // After `.ptr` the space and the alignment are those of what it points to.
                ".ptr" => pointer = true,
                ".align" if pointer => {
                    self.integer()?;
                }
                ".align" => align = Some(self.integer()? as usize),
                ".global" | ".const" | ".shared" | ".local" => {}
                ".v2" => vector = 2,
                ".v4" => vector = 4,
                word => match word.strip_prefix('.') {
                    None => break word,
                    Some(name) => match Type::named(name) {
                        Some(named) => ty = Some(named),
                        None => return Err(PtxError::new(line, format!("`{word}` of a variable is not supported"))),
                    },
                },
            }
        };
        let Some(ty) = ty else { return Err(PtxError::new(line, format!("`{name}` has no type"))) };
        let mut length = Some(vector);
        while self.take('[') {
            length = if self.take(']') {
                None
            } else {
                let size = self.integer()? as usize;
                self.expect(']')?;
                length.map(|length| length * size)
            };
        }
        let init = if self.take('=') { self.initial_values()? } else { Vec::new() };
        Ok(Variable { line, space, name, ty, align: align.unwrap_or(ty.bytes() * vector).max(1), length, init })
    }

    fn initial_values(&mut self) -> Parsed<Vec<u64>> {
        if !self.take('{') {
            return Ok(vec![self.integer()?]);
        }
        let nested = self.list('}', |parser| {
            if parser.peek() == Kind::Mark('{') { parser.initial_values() } else { Ok(vec![parser.integer()?]) }
        })?;
        Ok(nested.concat())
    }

    fn block(&mut self) -> Parsed<Vec<Item<'a>>> {
        self.expect('{')?;
        let mut items = Vec::new();
        while !self.take('}') {
            self.item(&mut items)?;
        }
        Ok(items)
    }

    fn item(&mut self, items: &mut Vec<Item<'a>>) -> Parsed<()> {
        match self.peek() {
            Kind::Mark('{') => items.push(Item::Block(self.block()?)),
            Kind::Mark(';') => {
                self.next();
            }
            Kind::Word(".loc") => self.location()?,
            Kind::Word(".pragma") => self.pragma()?,
            Kind::Word(".reg") => self.registers(items)?,
            Kind::Word(".shared" | ".local" | ".param" | ".global" | ".const") => {
                items.push(Item::Variable(self.variable()?));
                self.expect(';')?;
            }
            Kind::Word(word) if self.tokens[self.at + 1].kind == Kind::Mark(':') => {
                self.next();
                self.next();
                if self.take_word(".branchtargets") {
                    items.push(Item::Targets(word, self.list(';', |parser| parser.word("a label"))?));
                } else {
                    items.push(Item::Label(word));
                }
            }
            _ => items.push(Item::Statement(self.statement()?)),
        }
        Ok(())
    }

    /// `.loc 1 20 3`, and after it `, function_name $L__info, inlined_at 1 7 5` for code of an inlined function.
    fn location(&mut self) -> Parsed<()> {
        self.next();
        let (file, line, _column) = (self.integer()?, self.integer()?, self.integer()?);
        self.loc = Some((file as u32, line as u32));
        while self.take(',') {
            match self.word("function_name or inlined_at")? {
                "function_name" => {
                    self.word("a label")?;
                    if self.take('+') {
                        self.integer()?;
                    }
                }
                _ => {
                    for _ in 0..3 {
                        self.integer()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn registers(&mut self, items: &mut Vec<Item<'a>>) -> Parsed<()> {
        self.next();
        let line = self.line();
        let name = self.word("the type of registers")?;
        let Some(ty) = name.strip_prefix('.').and_then(Type::named) else {
            return Err(PtxError::new(line, format!("registers of type `{name}` are not supported")));
        };
        let declared = self.list(';', |parser| {
            let name = parser.word("a register's name")?;
            let mut count = None;
            if parser.take('<') {
                count = Some(parser.integer()? as u32);
                parser.expect('>')?;
            }
            Ok(Item::Registers { ty, name, count })
        })?;
        items.extend(declared);
        Ok(())
    }

    fn statement(&mut self) -> Parsed<Statement<'a>> {
        let Token { start, line, .. } = self.tokens[self.at];
        let mut guard = None;
        if self.take('@') {
            let negated = self.take('!');
            guard = Some((self.word("a predicate")?, negated));
        }
        let opcode = self.word("an instruction")?;
        let operands = self.list(';', Self::operand)?;
        let text = &self.text[start..self.tokens[self.at - 1].start];
        Ok(Statement { text, line, loc: self.loc, guard, opcode, operands })
    }

    fn operand(&mut self) -> Parsed<Operand<'a>> {
        if self.take('{') {
            return Ok(Operand::Vector(self.list('}', Self::operand)?));
        }
        if self.take('(') {
            return Ok(Operand::List(self.list(')', Self::operand)?));
        }
        if self.take('!') {
            return Ok(Operand::Not(self.word("a predicate")?));
        }
        if self.take('[') {
            let address = match self.operand()? {
                address @ Operand::Address(..) => address,
                base => Operand::Address(Box::new(base), 0),
            };
            self.expect(']')?;
            return Ok(address);
        }
        if self.peek() == Kind::Mark('-') {
            return Ok(Operand::Number(self.integer()?));
        }
        let word = self.word("an operand")?;
        if let Some(value) = number(word) {
            return Ok(Operand::Number(value));
        }
        if self.take('|') {
            return Ok(Operand::Pair(word, self.word("a predicate")?));
        }
        if self.take('+') {
            return Ok(Operand::Address(Box::new(Operand::Name(word)), self.integer()? as i64));
        }
        Ok(Operand::Name(word))
    }
}

/// An integer, or the bits of `0f3F800000` and `0d3FF0000000000000`.
fn number(word: &str) -> Option<u64> {
    if !word.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let hexadecimal = |digits| u64::from_str_radix(digits, 16).ok();
    match word.get(..2) {
        Some("0f" | "0F") if word.len() == 10 => return hexadecimal(&word[2..]),
        Some("0d" | "0D") if word.len() == 18 => return hexadecimal(&word[2..]),
        _ => {}
    }
    let word = word.strip_suffix('U').unwrap_or(word);
    match word.get(..2) {
        Some("0x" | "0X") => hexadecimal(&word[2..]),
        Some("0b" | "0B") => u64::from_str_radix(&word[2..], 2).ok(),
        _ => word.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_say_size_alignment_and_values() {
        let source = parse(
            ".version 8.7 .target sm_90, debug .address_size 64 .file 1 \"a.cu\", 17, 5
             .section .debug_str { .b8 1, 2 }
             .extern .shared .align 16 .b8 dynamic[];
             .global .align 8 .b16 pairs[2][3] = {{1, 2, -1}, {0x10U}};
             .visible .entry k(.param .u64 .ptr .global .align 1 p, .param .align 4 .b8 s[12])
             .maxntid 64, 2, 1 .minnctapersm 2 { ret; }
             .extern .func (.param .b32 r) f(.param .b64 a);",
        )
        .unwrap();
        let variables: Vec<_> = source.variables.iter().map(|v| (v.name, v.align, v.length, v.bytes())).collect();
        assert_eq!(variables, [("dynamic", 16, None, 0), ("pairs", 8, Some(6), 12)]);
        assert_eq!(source.variables[1].init, [1, 2, u64::MAX, 16]);
        assert_eq!(source.files, [(1, "a.cu")]);
        let [kernel, function] = source.functions.as_slice() else { panic!("{:?}", source.functions) };
        assert_eq!((kernel.entry, kernel.max_threads, kernel.params.len()), (true, Some(128), 2));
        assert_eq!((kernel.params[0].align, kernel.params[1].bytes()), (8, 12));
        assert!(function.body.is_none() && function.results.len() == 1);
    }

    #[test]
    fn statements_keep_their_lines_and_texts() {
        let source = parse(
            ".entry k() {
                .loc 1 20 3
                @!%p1 ld.global.v2.f32 {%f1, _}, [%rd1+-8];
                .loc 1 7 5, function_name $L__info+4, inlined_at 1 30 2
                L: setp.lt.and.f32 %p1|%p2, %f1, 0fBF800000, !%p3; }",
        )
        .unwrap();
        let items = source.functions[0].body.as_deref().unwrap();
        let [Item::Statement(load), Item::Label("L"), Item::Statement(compare)] = items else { panic!("{items:?}") };
        assert_eq!((load.line, load.loc, load.guard), (3, Some((1, 20)), Some(("%p1", true))));
        assert_eq!(load.text, "@!%p1 ld.global.v2.f32 {%f1, _}, [%rd1+-8]");
        assert_eq!(format!("{:?}", load.operands), "[{%f1, _}, [%rd1+-8]]");
        assert_eq!((compare.line, compare.loc), (5, Some((1, 7))));
        assert_eq!(format!("{:?}", compare.operands), "[%p1|%p2, %f1, 3212836864, !%p3]");
    }

    #[test]
    fn what_is_no_ptx_is_told_with_its_line() {
        for (text, wanted) in [
            (".version 8.0\n.entry k() { add.u32 %r1 %r2; }", "PTX line 2: `;` should stand here, but `%r2` does"),
            (".entry k() {\n\n", "PTX line 3: an instruction should stand here, but the end of the text does"),
            ("\n.sampler s;", "PTX line 2: a kernel, a function or a variable should stand here, but `.sampler` does"),
            (".global .b128 x;", "PTX line 1: `.b128` of a variable is not supported"),
            ("/* ", "PTX line 1: a comment that does not end"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), wanted);
        }
    }
}
