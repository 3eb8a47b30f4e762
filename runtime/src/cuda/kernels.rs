//! A model's kernels: compiled, or found as they were compiled before, loaded, and what each is to be given.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaModule};
use cudarc::nvrtc::Ptx;

use super::cache::{Cache, Key};
use super::card::{Card, failed};
use super::nvrtc::{Compiled, Nvrtc};
use crate::error::DeviceProblem;
use crate::{Error, Precision};

/// The compiler's options for a card's compute capability, `80` for 8.0. What it says of registers and spills is in its log.
///
/// ```
/// let options = netspec::cuda::options(90, netspec::Precision::Bf16);
/// assert_eq!(options, ["--gpu-architecture=sm_90", "--std=c++17", "--ptxas-options=-v", "-DPRECISION=2"]);
/// ```
pub fn options(arch: u32, precision: Precision) -> Vec<String> {
    let precision = match precision {
        Precision::F32 => 0,
        Precision::Tf32 => 1,
        Precision::Bf16 => 2,
    };
    vec![
        format!("--gpu-architecture=sm_{arch}"),
        "--std=c++17".to_owned(),
        "--ptxas-options=-v".to_owned(),
        format!("-DPRECISION={precision}"),
    ]
}

/// Kernels on a card.
pub(super) struct Kernels {
    kernels: Vec<Kernel>,
    by_name: HashMap<String, usize>,
    module: Arc<CudaModule>,
    ptx: String,
}

/// A kernel, its name, and the bytes of each of its parameters.
pub(super) struct Kernel {
    pub(super) name: String,
    pub(super) function: CudaFunction,
    params: Vec<usize>,
}

impl Kernels {
    /// Those of a source.
    ///
    /// # Errors
    ///
    /// [`DeviceProblem::NoCompiler`], [`DeviceProblem::OldCompiler`], [`DeviceProblem::Compile`], [`DeviceProblem::Driver`].
    pub(super) fn load(card: &Arc<Card>, name: &str, source: &str, precision: Precision) -> Result<Kernels, Error> {
        let nvrtc = Nvrtc::get()?;
        let options = options(nvrtc.arch_for(card.arch()), precision);
        let key = Key { source, options: &options, version: nvrtc.version() };
        let cache = Cache::of_user();
        let kept = cache.as_ref().and_then(|cache| cache.get(&key));
        // What the driver does not take is compiled again, whatever is wrong with it.
        if let Some(kernels) = kept.and_then(|kept| Kernels::of(card, kept).ok()) {
            return Ok(kernels);
        }
        let compiled = nvrtc.compile(&format!("{name}.cu"), source, &options)?;
        let kernels = Kernels::of(card, compiled.clone())?;
        if let Some(cache) = &cache {
            cache.put(&key, &compiled);
        }
        Ok(kernels)
    }

    /// Loads the cubin; where the driver has another card's, the PTX, which it compiles itself.
    fn of(card: &Arc<Card>, Compiled { cubin, ptx, .. }: Compiled) -> Result<Kernels, Error> {
        let load = |image| card.context.load_module(image);
        let module = match cubin {
            cubin if cubin.is_empty() => load(Ptx::from_src(&ptx)),
            cubin => load(Ptx::from_binary(cubin)).or_else(|_| load(Ptx::from_src(&ptx))),
        };
        let module = module.map_err(|error| failed("load the kernels", error))?;
        Ok(Kernels { kernels: Vec::new(), by_name: HashMap::new(), module, ptx })
    }

    /// The number of a kernel that is launched with arguments of these bytes.
    ///
    /// # Errors
    ///
    /// [`DeviceProblem::Kernel`] when there is none, or it takes others.
    pub(super) fn find(&mut self, name: &str, args: impl Iterator<Item = usize>) -> Result<usize, Error> {
        let number = match self.by_name.get(name) {
            Some(&number) => number,
            None => self.add(name)?,
        };
        let kernel = &self.kernels[number];
        let given: Vec<usize> = args.collect();
        if given != kernel.params {
            let problem = format!("takes parameters of {:?} bytes, and is given {given:?}", kernel.params);
            return Err(Error::Device(DeviceProblem::Kernel { kernel: name.to_owned(), problem }));
        }
        Ok(number)
    }

    fn add(&mut self, name: &str) -> Result<usize, Error> {
        let none = || {
            let problem = "is launched, and is not in the model's text".to_owned();
            Error::Device(DeviceProblem::Kernel { kernel: name.to_owned(), problem })
        };
        let params = params(&self.ptx, name).ok_or_else(none)?;
        let function = self.module.load_function(name).map_err(|error| failed("find a kernel", error))?;
        self.kernels.push(Kernel { name: name.to_owned(), function, params });
        self.by_name.insert(name.to_owned(), self.kernels.len() - 1);
        Ok(self.kernels.len() - 1)
    }

    /// A kernel by its number.
    pub(super) fn kernel(&self, number: usize) -> &Kernel {
        &self.kernels[number]
    }
}

/// The bytes of each parameter of a kernel, as PTX declares them: `.visible .entry name( .param .u64 name_param_0, … )`. The driver
/// itself knows no more of a launch than where its arguments are.
fn params(ptx: &str, name: &str) -> Option<Vec<usize>> {
    let entry = ptx.split(".entry ").skip(1).find_map(|entry| {
        let rest = entry.trim_start().strip_prefix(name)?.trim_start();
        rest.strip_prefix('(')
    })?;
    let list = entry.split(')').next()?;
    list.split(',').map(str::trim).filter(|param| !param.is_empty()).map(bytes_of_param).collect()
}

/// Of `.param .u64 .ptr .align 1 name_param_0`, `.param .f32 name_param_1` or `.param .align 8 .b8 name_param_2[16]`.
fn bytes_of_param(param: &str) -> Option<usize> {
    let mut words = param.split_whitespace().filter(|word| !matches!(*word, ".param" | ".const" | ".global" | ".ptr"));
    let bits =
        words.find_map(|word| word.strip_prefix(['.'])?.strip_prefix(['u', 's', 'b', 'f'])?.parse::<usize>().ok())?;
    let count = match param.split_once('[') {
        Some((_, count)) => count.strip_suffix(']')?.parse().ok()?,
        None => 1,
    };
    Some(bits / 8 * count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_from_ptx() {
        let ptx = "
.visible .entry add(
\t.param .u64 .ptr .align 1 add_param_0,
\t.param .u32 add_param_1,
\t.param .f32 add_param_2
)
.maxntid 256
{ ret; }
.visible .entry add_up(
\t.param .align 8 .b8 add_up_param_0[24]
)
{ ret; }
.visible .entry nothing()
{ ret; }
";
        assert_eq!(params(ptx, "add"), Some(vec![8, 4, 4]));
        assert_eq!(params(ptx, "add_up"), Some(vec![24]));
        assert_eq!(params(ptx, "nothing"), Some(vec![]));
        assert_eq!(params(ptx, "ad"), None);
        assert_eq!(params(ptx, "not"), None);
    }
}
