//! Where a model runs, and in which precision a card multiplies.

use std::fmt;
use std::str::FromStr;

/// Where a model runs.
///
/// ```
/// use netspec::Device;
///
/// assert_eq!("cuda:1".parse::<Device>()?, Device::Cuda(1));
/// assert_eq!("cuda".parse::<Device>()?, Device::Cuda(0));
/// assert_eq!(Device::Cuda(0).to_string(), "cuda:0");
/// assert!("gpu".parse::<Device>().is_err());
/// # Ok::<(), netspec::UnknownDevice>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// The first card, if the machine has one that can be used; else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA card by its number, from 0, as the driver counts them.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Device, UnknownDevice> {
        let unknown = || UnknownDevice(name.to_owned());
        match name {
            "auto" => Ok(Device::Auto),
            "cpu" => Ok(Device::Cpu),
            "cuda" => Ok(Device::Cuda(0)),
            _ => {
                let number = name.strip_prefix("cuda:").filter(|number| number.bytes().all(|b| b.is_ascii_digit()));
                number.and_then(|number| number.parse().ok()).map(Device::Cuda).ok_or_else(unknown)
            }
        }
    }
}

/// No device is called so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDevice(String);

impl fmt::Display for UnknownDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "there is no device `{}`: there are auto, cpu, cuda, and cuda:1 and so on for the second card",
            self.0
        )
    }
}

impl std::error::Error for UnknownDevice {}

/// In which precision a card multiplies. Weights, sums and everything that is no product of a convolution or a linear layer are f32 in
/// each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// f32: the processor's results, up to rounding.
    #[default]
    F32,
    /// Factors rounded to 10 bits behind the binary point, as tensor cores take them: TF32.
    Tf32,
    /// Factors rounded to 7 bits behind the binary point: bfloat16.
    Bf16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::Tf32, Precision::Bf16];

    /// `f32`, `tf32` or `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Precision, UnknownPrecision> {
        let known = Precision::ALL.into_iter().find(|precision| precision.name() == name);
        known.ok_or_else(|| UnknownPrecision(name.to_owned()))
    }
}

/// No precision is called so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPrecision(String);

impl fmt::Display for UnknownPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no precision `{}`: there are f32, tf32 and bf16", self.0)
    }
}

impl std::error::Error for UnknownPrecision {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for device in [Device::Auto, Device::Cpu, Device::Cuda(0), Device::Cuda(12)] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        for text in
            ["", "CPU", "cuda:", "cuda:+1", "cuda:-1", "cuda:1 ", "cuda1", "cuda:99999999999999999999", "auto:0"]
        {
            assert_eq!(text.parse::<Device>(), Err(UnknownDevice(text.to_owned())));
        }
        assert_eq!(
            UnknownDevice("gpu".to_owned()).to_string(),
            "there is no device `gpu`: there are auto, cpu, cuda, and cuda:1 and so on for the second card"
        );
    }

    #[test]
    fn precisions_are_read_as_they_are_written() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        let error = "fp16".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(error, "there is no precision `fp16`: there are f32, tf32 and bf16");
    }
}
