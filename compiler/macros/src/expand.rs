//! From the tokens of an invocation to the items of the model, or to what is wrong with it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use netspec_compiler::diag::{Code, Severity};
use netspec_compiler::emit::{Naming, cuda, emit_broken, program};
use netspec_compiler::read::tokens::TokenText;
use netspec_compiler::source::Spelling;
use netspec_compiler::{Main, Options, Outcome, compile};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};

use crate::invocation::{FileForm, Form, form, model_name};
use crate::report::{Finding, Place, compile_error, message_in_page, message_of_file, place_in_page};

pub(crate) fn expand(input: TokenStream) -> TokenStream {
    match form(&input) {
        Form::Page => from_page(input),
        Form::File(name) => match syn::parse2(input) {
            Ok(file_form) => from_file(&file_form),
            Err(error) => {
                let error = error.into_compile_error();
                name.map_or(error.clone(), |name| emit_broken(&quote!(pub), &name, &error))
            }
        },
    }
}

fn from_page(input: TokenStream) -> TokenStream {
    let name = model_name(&input);
    let page = TokenText::new(input);
    let here = Span::call_site();
    let main = Main::Text { path: here.file(), text: page.text.clone(), spelling: Spelling::Netspec };
    let mut files = Files::default();
    let outcome = compile(main, &Options::default(), &mut |path| files.read(path));
    let findings = outcome.diagnostics.iter().map(|diagnostic| {
        let place = place_in_page(diagnostic).and_then(|span| page.spans(span.range())).unwrap_or((here, here));
        Finding::new(diagnostic, &message_in_page(diagnostic, &outcome.sources, &page), place)
    });
    let findings = findings.collect();
    let mut items = items(&quote!(pub), name.ok_or((here, here)), &here.file(), &outcome, findings);
    items.extend(files.rebuild_when_they_change());
    items
}

fn from_file(form: &FileForm) -> TokenStream {
    let mut files = Files::default();
    let params = form.params.iter().map(|(name, value)| (name.to_string(), *value)).collect();
    let options = Options { params, ..Options::default() };
    let mut outcome = compile(Main::File(form.path.value()), &options, &mut |path| files.read(path));
    if let (true, [missing]) = (files.is_missing(&form.path.value()), &mut outcome.diagnostics[..]) {
        missing.notes.push("the path begins at the directory of `Cargo.toml`".to_owned());
    }

    let findings = outcome.diagnostics.iter().map(|diagnostic| {
        let place = match diagnostic.code {
            Code::N0212 => form.params.iter().find(|(name, _)| diagnostic.title.contains(&format!("`{name}`"))),
            _ => None,
        };
        let span = place.map_or(form.path.span(), |(name, _)| name.span());
        Finding::new(diagnostic, &message_of_file(diagnostic, &outcome.sources), (span, span))
    });
    let findings = findings.collect();
    let name = form.name.clone().or_else(|| {
        let mut name: Ident = syn::parse_str(outcome.model_name.as_deref()?).ok()?;
        name.set_span(form.path.span());
        Some(name)
    });
    let unnamed = (form.path.span(), form.path.span());
    let mut origin = form.path.value();
    for (index, (param, value)) in form.params.iter().enumerate() {
        origin += &format!("{} {param} = {value}", if index == 0 { " with" } else { "," });
    }
    let mut items = items(&form.visibility.to_token_stream(), name.ok_or(unnamed), &origin, &outcome, findings);
    items.extend(files.rebuild_when_they_change());
    items
}

/// The files that a spec is read from, by paths from the directory of `Cargo.toml`.
#[derive(Default)]
struct Files {
    seen: Vec<String>,
    not_found: Vec<String>,
}

impl Files {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let root = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
        match std::fs::read(root.join(path)) {
            Ok(bytes) => {
                self.seen.push(path.to_owned());
                Ok(bytes)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.not_found.push(path.to_owned());
                Err("no such file".to_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn is_missing(&self, path: &str) -> bool {
        self.not_found.iter().any(|missing| missing == path)
    }

    fn rebuild_when_they_change(&self) -> TokenStream {
        self.seen.iter().map(|path| rebuild_when_it_changes(path)).collect()
    }
}

/// The struct of a proved model, which comes from `origin`, or of a broken one. A `name` that there is not is an error, with
/// where to report it.
fn items(
    visibility: &TokenStream,
    name: Result<Ident, Place>,
    origin: &str,
    outcome: &Outcome,
    findings: Vec<Finding>,
) -> TokenStream {
    let (errors, warnings): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.severity == Severity::Error);
    let mut errors = errors.into_iter().map(|error| error.tokens);
    let mut items: TokenStream = warnings.into_iter().map(|warning| warning.tokens).collect();
    match (&outcome.checked, name) {
        (Some(checked), Ok(name)) => {
            let (visibility, name) = (visibility.to_string(), name.to_string());
            let mut text = program(checked, &outcome.sources, Naming { visibility: &visibility, name: &name, origin });
            if cfg!(feature = "cuda") {
                text += &cuda::on_device(checked, &outcome.sources, &name, origin);
            }
            match text.parse::<TokenStream>() {
                Ok(model) => items.extend(model),
                Err(error) => items.extend(compile_error(
                    &format!("netspec wrote what is not Rust: {error}"),
                    (Span::call_site(), Span::call_site()),
                )),
            }
        }
        (Some(_), Err(place)) => {
            let message = "the model's name cannot be a struct's: give one, as in `netspec!(Name = \"…\")`";
            items.extend(compile_error(message, place));
        }
        // One error is part of the struct, so that nothing which uses the struct is an error, too.
        (None, Ok(name)) => items.extend(errors.next().map(|first| emit_broken(visibility, &name, &first))),
        (None, Err(_)) => {}
    }
    items.extend(errors);
    items
}

/// Cargo builds a crate again when a file that it includes has changed.
fn rebuild_when_it_changes(path: &str) -> TokenStream {
    let path = if Path::new(path).is_absolute() {
        quote!(#path)
    } else {
        quote!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/", #path))
    };
    quote!(
        const _: &[u8] = ::core::include_bytes!(#path);
    )
}
