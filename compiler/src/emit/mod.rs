//! The proved model to Rust: what a user of `netspec!` sees.
//!
//! So far it is the face only: the struct, its types, its methods. Running is not built yet, and the methods that would run
//! return `netspec::Error::NotBuilt`.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

use crate::check::Checked;
use crate::ops::thousands;

/// What the generated items need to know of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Face {
    /// The model's name, as in its spec.
    pub name: String,
    /// Where it comes from, as the user names it: `specs/res_deep.yaml with n_blocks = 100`.
    pub origin: String,
    /// The shape of each input, per sample.
    pub inputs: Vec<Vec<u64>>,
    /// The shape of each output, per sample.
    pub outputs: Vec<Vec<u64>>,
    /// How many trainable parameters it has.
    pub parameters: u64,
}

impl Face {
    /// The face of a proved model, which comes from `origin`.
    pub fn new(checked: &Checked, origin: &str) -> Face {
        Face {
            name: checked.net.name.clone(),
            origin: origin.to_owned(),
            inputs: checked.net.inputs.iter().filter_map(|input| input.shape.clone()).collect(),
            outputs: checked.outputs.clone(),
            parameters: checked.parameters,
        }
    }
}

/// The items of a model: the struct `name` and what it can do.
pub fn emit(visibility: &TokenStream, name: &Ident, face: &Face) -> TokenStream {
    let Face { name: model_name, origin, inputs, outputs, parameters } = face;
    let doc = format!("`{model_name}`, from {origin}: {} parameters.", thousands(*parameters));
    let input = samples_type(inputs);
    let output = samples_type(outputs);
    let parameters = Literal::u64_unsuffixed(*parameters);
    let model = quote! {
        impl ::netspec::Model for #name {
            type Input = #input;
            type Output = #output;
            const NAME: &'static str = #model_name;
            const PARAMETERS: usize = #parameters;
        }
    };
    items(visibility, name, &doc, &model)
}

/// The items of a model whose spec is wrong, so that `error`, an invocation of `compile_error!`, is all that rustc has to say
/// of the code that uses it.
pub fn emit_broken(visibility: &TokenStream, name: &Ident, error: &TokenStream) -> TokenStream {
    let doc = format!("`{name}`, whose spec is wrong.");
    // An array's length is an expression, so `compile_error!` can stand there; and what rustc derives from such an array is a
    // type it has already complained about, with which it takes everything to agree.
    let model_name = name.to_string();
    let model = quote! {
        impl ::netspec::Model for #name {
            type Input = <[(); #error] as ::core::iter::IntoIterator>::Item;
            type Output = <Self as ::netspec::Model>::Input;
            const NAME: &'static str = #model_name;
            const PARAMETERS: usize = <<Self as ::netspec::Model>::Input as ::netspec::Model>::PARAMETERS;
        }
    };
    items(visibility, name, &doc, &model)
}

/// What is the same in every model: `model` gives its numbers.
fn items(visibility: &TokenStream, name: &Ident, doc: &str, model: &TokenStream) -> TokenStream {
    let samples = quote!(&[<Self as ::netspec::Model>::Input]);
    let targets = quote!(&[L::Target]);
    let loss = quote!(::netspec::Loss<<Self as ::netspec::Model>::Output>);
    let result = |value: TokenStream| quote!(::core::result::Result<#value, ::netspec::Error>);
    let (nothing, number, itself) = (result(quote!(())), result(quote!(f32)), result(quote!(Self)));
    let not_built = |method: &str| quote!(::core::result::Result::Err(::netspec::Error::NotBuilt(#method)));
    let [load, save, infer, step, gradients] = ["load", "save", "infer", "step", "gradients"].map(not_built);
    quote! {
        #[doc = #doc]
        #[derive(::core::clone::Clone)]
        #visibility struct #name {
            params: ::std::vec::Vec<f32>,
        }

        #model

        #[allow(dead_code, unused_variables)]
        impl #name {
            /// A model with the initial weights that `seed` draws. Initialisation is not built yet: all weights are zero.
            pub fn new(seed: u64) -> Self {
                Self { params: ::std::vec![0.0; <Self as ::netspec::Model>::PARAMETERS] }
            }

            /// The model with the weights of a file. Not built yet.
            pub fn load(path: impl ::core::convert::AsRef<::std::path::Path>) -> #itself {
                #load
            }

            /// Writes the weights to a file. Not built yet.
            pub fn save(&self, path: impl ::core::convert::AsRef<::std::path::Path>) -> #nothing {
                #save
            }

            /// The weights, one after the other in PyTorch's order.
            pub fn params(&self) -> &[f32] {
                &self.params
            }

            /// The weights, to be changed.
            pub fn params_mut(&mut self) -> &mut [f32] {
                &mut self.params
            }

            /// Gives the output of each input. Not built yet.
            pub fn infer(
                &self,
                workspace: &mut ::netspec::Workspace,
                inputs: #samples,
                outputs: &mut [<Self as ::netspec::Model>::Output],
            ) -> #nothing {
                #infer
            }

            /// One step of training on a batch: gives the mean loss before it. Not built yet.
            pub fn step<L: #loss, O: ::netspec::Optimizer>(
                &mut self,
                workspace: &mut ::netspec::Workspace,
                inputs: #samples,
                targets: #targets,
                loss: &L,
                optimizer: &mut O,
            ) -> #number {
                #step
            }

            /// The mean loss of a batch, and its gradient by each of the weights. Not built yet.
            pub fn gradients<L: #loss>(
                &self,
                workspace: &mut ::netspec::Workspace,
                inputs: #samples,
                targets: #targets,
                loss: &L,
                gradients: &mut [f32],
            ) -> #number {
                #gradients
            }
        }

        impl ::core::fmt::Debug for #name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(::core::stringify!(#name)).finish_non_exhaustive()
            }
        }
    }
}

/// `[[[f32; 32]; 32]; 3]` for one shape, a tuple of such for several.
fn samples_type(shapes: &[Vec<u64>]) -> TokenStream {
    let array = |shape: &Vec<u64>| {
        shape.iter().rev().fold(quote!(f32), |element, &size| {
            let size = Literal::u64_unsuffixed(size);
            quote!([#element; #size])
        })
    };
    match shapes {
        [shape] => array(shape),
        _ => {
            let arrays = shapes.iter().map(array);
            quote!((#(#arrays),*))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proc_macro2::Span;

    fn face(inputs: &[&[u64]], outputs: &[&[u64]]) -> Face {
        let shapes = |shapes: &[&[u64]]| shapes.iter().map(|shape| shape.to_vec()).collect();
        Face {
            name: "ResDeep".to_owned(),
            origin: "specs/res_deep.yaml".to_owned(),
            inputs: shapes(inputs),
            outputs: shapes(outputs),
            parameters: 159_330,
        }
    }

    fn emitted(face: &Face) -> String {
        emit(&quote!(pub), &Ident::new("Deep100", Span::call_site()), face).to_string()
    }

    #[test]
    fn the_face_is_in_the_items() {
        let items = emitted(&face(&[&[3, 32, 32]], &[&[2]]));
        let has = |tokens: TokenStream| assert!(items.contains(&tokens.to_string()), "{tokens} in:\n{items}");
        has(quote!(#[doc = "`ResDeep`, from specs/res_deep.yaml: 159,330 parameters."]));
        has(quote!(pub struct Deep100));
        has(quote!(
            type Input = [[[f32; 32]; 32]; 3];
        ));
        has(quote!(
            type Output = [f32; 2];
        ));
        has(quote!(
            const NAME: &'static str = "ResDeep";
            const PARAMETERS: usize = 159330;
        ));
    }

    #[test]
    fn several_inputs_and_outputs_are_tuples() {
        let items = emitted(&face(&[&[1, 28, 28], &[10]], &[&[2], &[4, 5], &[1]]));
        assert!(
            items.contains(
                &quote!(
                    type Input = ([[[f32; 28]; 28]; 1], [f32; 10]);
                )
                .to_string()
            ),
            "{items}"
        );
        assert!(
            items.contains(
                &quote!(
                    type Output = ([f32; 2], [[f32; 5]; 4], [f32; 1]);
                )
                .to_string()
            ),
            "{items}"
        );
    }
}
