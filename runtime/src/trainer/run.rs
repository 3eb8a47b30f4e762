//! One picture through the model: what comes out, as numbers or as a picture.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;

use super::args::RunArgs;
use super::failure::Failure;
use super::fit::check_out;
use super::{Data, Defaults};
use crate::files::write_whole;
use crate::network::{self, Network};
use crate::{Error, Workspace};

/// Runs the model on a picture. Of an output that is a map a picture is written, and the numbers of another one are printed.
pub(super) fn run<N: Network>(defaults: &Defaults, args: &RunArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let (&[&[channels @ (1 | 3), height, width]], &[output]) = (defaults.inputs, defaults.outputs) else {
        let text = format!("{} does not take one picture, of 1 or 3 channels, and give one value", N::NAME);
        return Err(Failure::Usage(text));
    };
    let is_map = output.len() == 3;
    if is_map {
        check_out(&args.out)?;
    }
    let picture = Picture::read(&args.image)?;
    if (picture.width, picture.height) != (width, height) {
        let (path, found) = (args.image.display(), format!("{} x {}", picture.height, picture.width));
        let advice = "`-p` sets the sizes of a spec that has parameters for them";
        let text = format!("{path} has {found} pixels, but {} takes {height} x {width}; {advice}", N::NAME);
        return Err(Failure::Usage(text));
    }
    let model: N = match &args.weights {
        Some(path) => network::load(path)?,
        None => network::new(args.seed),
    };
    let data = defaults.train.and_then(|train| train.data);
    let Data { classes, mean, std, .. } =
        data.unwrap_or(Data { name: "", file: None, classes: &[], mean: &[], std: &[] });
    let input = picture.planes(channels, mean, std);
    let mut values = Vec::new();
    let feed = |_: usize, _: usize, to: &mut [f32]| to.copy_from_slice(&input);
    network::infer_from(&model, &mut Workspace::with_threads(1), 1, &feed, &mut |_, _, output| {
        values.extend_from_slice(output);
    })?;
    match *output {
        [channels, height, width] => {
            let (shown, least, greatest) = Picture::of_map(&values, [channels, height, width]);
            shown.write(&args.out)?;
            let path = args.out.display();
            writeln!(out, "{path}: {channels} x {height} x {width}, black {least:.4}, white {greatest:.4}")?;
        }
        _ => {
            for (index, value) in values.iter().enumerate() {
                match classes.get(index) {
                    Some(class) => writeln!(out, "{value:10.4}  {class}")?,
                    None => writeln!(out, "{value:10.4}")?,
                }
            }
        }
    }
    Ok(())
}

/// Bytes of pixels, row by row, their channels next to each other.
#[derive(Debug, PartialEq)]
struct Picture {
    width: usize,
    height: usize,
    /// 1: grey; 3: red, green, blue.
    channels: usize,
    bytes: Vec<u8>,
}

impl Picture {
    /// Reads a PNG file; what is behind a transparent pixel is not looked at, and of 16 bits the first 8 are kept.
    fn read(path: &Path) -> Result<Picture, Failure> {
        let problem = |error: &dyn std::fmt::Display| {
            Failure::Usage(format!("cannot read {} as a PNG picture: {error}", path.display()))
        };
        let file = File::open(path).map_err(|error| problem(&error))?;
        let mut decoder = png::Decoder::new(BufReader::new(file));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().map_err(|error| problem(&error))?;
        let len = reader.output_buffer_size().ok_or_else(|| problem(&"it is too large"))?;
        let mut bytes = vec![0; len];
        let info = reader.next_frame(&mut bytes).map_err(|error| problem(&error))?;
        bytes.truncate(info.buffer_size());
        let (channels, kept) = match info.color_type {
            png::ColorType::Grayscale => (1, 1),
            png::ColorType::GrayscaleAlpha => (2, 1),
            png::ColorType::Rgba => (4, 3),
            png::ColorType::Rgb | png::ColorType::Indexed => (3, 3),
        };
        let bytes = bytes.chunks_exact(channels).flat_map(|pixel| pixel[..kept].iter().copied()).collect();
        Ok(Picture { width: info.width as usize, height: info.height as usize, channels: kept, bytes })
    }

    /// Planes of `channels`, `(byte / 255 - mean) / std`. Grey is made of colours by their weights in brightness (ITU-R BT.601), and
    /// colours of grey by its being in all.
    fn planes(&self, channels: usize, mean: &[f32], std: &[f32]) -> Vec<f32> {
        let value = |pixel: &[u8], channel: usize| match (pixel, channels) {
            (&[red, green, blue], 1) => 0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue),
            (&[grey], _) => f32::from(grey),
            (pixel, _) => f32::from(pixel[channel]),
        };
        let of = |numbers: &[f32], channel: usize, without: f32| numbers.get(channel).copied().unwrap_or(without);
        (0..channels)
            .flat_map(|channel| {
                let (mean, std) = (of(mean, channel, 0.0), of(std, channel, 1.0));
                self.bytes.chunks_exact(self.channels).map(move |pixel| (value(pixel, channel) / 255.0 - mean) / std)
            })
            .collect()
    }

    /// A map as a picture, and the numbers that are black and white in it: the least and the greatest. Three channels are colours; of
    /// another number each is a grey picture of its own, beside and below each other.
    fn of_map(values: &[f32], [channels, height, width]: [usize; 3]) -> (Picture, f32, f32) {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let (least, greatest) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
        let byte = |value: f32| (255.0 * (value - least) / (greatest - least)).round() as u8;
        if channels == 3 {
            let plane = height * width;
            let bytes = (0..plane).flat_map(|at| [0, 1, 2].map(|channel| byte(values[channel * plane + at]))).collect();
            return (Picture { width, height, channels, bytes }, least, greatest);
        }
        let across = (1..=channels).find(|across| across * across >= channels).unwrap_or(1);
        let down = channels.div_ceil(across);
        let mut bytes = vec![0; down * height * across * width];
        for (channel, plane) in values.chunks_exact(height * width).enumerate() {
            for (y, row) in plane.chunks_exact(width).enumerate() {
                let first = ((channel / across) * height + y) * across * width + (channel % across) * width;
                bytes[first..][..width].iter_mut().zip(row).for_each(|(to, &value)| *to = byte(value));
            }
        }
        (Picture { width: across * width, height: down * height, channels: 1, bytes }, least, greatest)
    }

    /// Writes a PNG file.
    fn write(&self, path: &Path) -> Result<(), Error> {
        let size = |size: usize| u32::try_from(size).map_err(std::io::Error::other);
        write_whole(path, |to| {
            let mut encoder = png::Encoder::new(to, size(self.width)?, size(self.height)?);
            encoder.set_color(if self.channels == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale });
            encoder.set_depth(png::BitDepth::Eight);
            let mut writer = encoder.write_header()?;
            writer.write_image_data(&self.bytes)?;
            Ok(writer.finish()?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        for channels in [1, 3] {
            let bytes = (0..5 * 4 * channels).map(|byte| (byte * 37 % 256) as u8).collect();
            let picture = Picture { width: 5, height: 4, channels, bytes };
            picture.write(&path).unwrap();
            assert_eq!(Picture::read(&path).unwrap(), picture);
        }
        std::fs::write(&path, "no picture").unwrap();
        let Err(Failure::Usage(text)) = Picture::read(&path) else { panic!("it is no picture") };
        assert!(text.starts_with(&format!("cannot read {} as a PNG picture: ", path.display())), "{text}");
    }

    #[test]
    fn pixels_become_planes() {
        let colours = Picture { width: 2, height: 1, channels: 3, bytes: vec![255, 0, 51, 0, 255, 0] };
        assert_eq!(colours.planes(3, &[], &[]), [1.0, 0.0, 0.0, 1.0, 0.2, 0.0]);
        let shifted = colours.planes(3, &[0.5, 0.0, 0.0], &[0.25, 0.5, 1.0]);
        assert_eq!(shifted, [2.0, -2.0, 0.0, 2.0, 0.2, 0.0]);
        let grey = colours.planes(1, &[], &[]);
        assert!((grey[0] - (0.299 + 0.114 * 0.2)).abs() < 1e-6 && (grey[1] - 0.587).abs() < 1e-6);
        let picture = Picture { width: 1, height: 1, channels: 1, bytes: vec![51] };
        assert_eq!(picture.planes(3, &[], &[]), [0.2; 3]);
    }

    #[test]
    fn maps_become_pictures() {
        let (picture, least, greatest) = Picture::of_map(&[-1.0, 0.0, 1.0, 3.0], [1, 2, 2]);
        assert_eq!((picture.bytes, least, greatest), (vec![0, 64, 128, 255], -1.0, 3.0));
        let (picture, ..) = Picture::of_map(&[0.0, 1.0, 1.0, 0.0, 0.0, 0.0], [3, 1, 2]);
        assert_eq!(picture.bytes, [0, 255, 0, 255, 0, 0]);
        let (picture, ..) = Picture::of_map(&[0.0, 1.0, 1.0, 0.0], [2, 1, 2]);
        assert_eq!((picture.width, picture.height, picture.bytes), (4, 1, vec![0, 255, 255, 0]));
        // A value that is none, and all alike, are black.
        assert_eq!(Picture::of_map(&[f32::NAN, 2.0], [1, 1, 2]).0.bytes, [0, 0]);
    }
}
