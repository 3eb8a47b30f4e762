//! What is written in the macro: the page itself, or where it is.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{LitInt, LitStr, Token, Visibility};

/// How much of an invocation its first tokens tell.
pub(crate) enum Form {
    /// A page.
    Page,
    /// A path, with the struct's name when one is given.
    File(Option<Ident>),
}

/// Tells the forms apart. It looks at no more than four tokens, so that a page is never handed to a parser that recurses.
pub(crate) fn form(input: &TokenStream) -> Form {
    let mut trees = input.clone().into_iter().peekable();
    let is_pub = |tree: &TokenTree| matches!(tree, TokenTree::Ident(word) if word == "pub");
    let public = trees.next_if(is_pub).is_some();
    if public {
        trees.next_if(|tree| matches!(tree, TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis));
    }
    match (trees.next(), trees.next()) {
        (Some(TokenTree::Ident(name)), Some(TokenTree::Punct(sign))) if sign.as_char() == '=' => Form::File(Some(name)),
        (Some(TokenTree::Literal(_)), _) => Form::File(None),
        _ if public => Form::File(None),
        _ => Form::Page,
    }
}

/// The name behind the word `model` of a page, with its place.
pub(crate) fn model_name(page: &TokenStream) -> Option<Ident> {
    let mut trees = page.clone().into_iter();
    trees.find(|tree| matches!(tree, TokenTree::Ident(word) if word == "model"))?;
    match trees.next()? {
        TokenTree::Ident(name) => Some(name),
        _ => None,
    }
}

/// `pub Deep100 = "specs/res_deep.yaml", n_blocks = 100`
pub(crate) struct FileForm {
    /// Of the struct.
    pub(crate) visibility: Visibility,
    /// Of the struct, when it is not the model's.
    pub(crate) name: Option<Ident>,
    /// From the directory of the crate's `Cargo.toml`.
    pub(crate) path: LitStr,
    /// Parameters of the model.
    pub(crate) params: Vec<(Ident, i64)>,
}

impl Parse for FileForm {
    fn parse(input: ParseStream<'_>) -> syn::Result<FileForm> {
        let visibility = input.parse()?;
        let name = if input.peek(Ident::peek_any) {
            let name = input.call(Ident::parse_any)?;
            input.parse::<Token![=]>()?;
            Some(name)
        } else {
            None
        };
        let path = input.parse()?;
        let mut params: Vec<(Ident, i64)> = Vec::new();
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            let param = input.call(Ident::parse_any)?;
            input.parse::<Token![=]>()?;
            let value = integer(input, &param)?;
            if params.iter().any(|(other, _)| *other == param) {
                return Err(syn::Error::new(param.span(), format!("`{param}` is given twice")));
            }
            params.push((param, value));
        }
        Ok(FileForm { visibility, name, path, params })
    }
}

fn integer(input: ParseStream<'_>, param: &Ident) -> syn::Result<i64> {
    let sign: Option<Token![-]> = input.parse()?;
    let not_an_integer = |error: syn::Error| syn::Error::new(error.span(), format!("`{param}` takes an integer"));
    let digits: LitInt = input.parse().map_err(not_an_integer)?;
    let value: i64 = digits.base10_parse()?;
    Ok(if sign.is_some() { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> TokenStream {
        text.parse().expect("the test's text lexes")
    }

    #[test]
    fn a_path_makes_it_the_form_with_a_file() {
        let named = |text| match form(&tokens(text)) {
            Form::File(name) => name.map(|name| name.to_string()),
            Form::Page => panic!("`{text}` is taken for a page"),
        };
        assert_eq!(named(r#""specs/net.yaml""#), None);
        assert_eq!(named(r#"Net = "specs/net.yaml""#).as_deref(), Some("Net"));
        assert_eq!(named(r#"pub(crate) Net = "specs/net.yaml""#).as_deref(), Some("Net"));
        assert_eq!(named(r#"pub "specs/net.yaml""#), None);
        assert_eq!(named("Net = 3").as_deref(), Some("Net"));
        assert_eq!(named("pub Net"), None);
        for page in ["", "model Net { relu; }", "block B(n) {}", "Net", "{ model }", "conv(3)"] {
            assert!(matches!(form(&tokens(page)), Form::Page), "`{page}`");
        }
    }

    #[test]
    fn the_models_name_is_found_behind_the_blocks() {
        let name = |text| model_name(&tokens(text)).map(|name| name.to_string());
        assert_eq!(name("block model_like(n) { model; } model Net(n = 1) { }").as_deref(), Some("Net"));
        assert_eq!(name("model { }"), None);
        assert_eq!(name("train Net { }"), None);
    }

    #[test]
    fn the_file_form_is_read() {
        let text = r#"pub(crate) Deep = "specs/res_deep.yaml", n_blocks = 100, type = -3,"#;
        let form: FileForm = syn::parse_str(text).expect("it parses");
        assert!(matches!(form.visibility, Visibility::Restricted(_)));
        assert_eq!(form.name.expect("it has a name"), "Deep");
        assert_eq!(form.path.value(), "specs/res_deep.yaml");
        let params: Vec<_> = form.params.iter().map(|(name, value)| (name.to_string(), *value)).collect();
        assert_eq!(params, [("n_blocks".to_owned(), 100), ("type".to_owned(), -3)]);

        let form: FileForm = syn::parse_str(r#""net.netspec""#).expect("it parses");
        assert!(form.name.is_none() && form.params.is_empty() && matches!(form.visibility, Visibility::Inherited));
    }

    #[test]
    fn the_file_form_refuses_what_it_does_not_know() {
        for text in ["Net = 3", "pub Net", r#""a" "b""#, r#""a", n = true"#, r#""a", n = 1, n = 2"#, r#""a", n = 1e3"#]
        {
            assert!(syn::parse_str::<FileForm>(text).is_err(), "{text}");
        }
    }
}
