//! Pictures of 32 by 32 pixels: from CIFAR-10's records and from PNG files, as what a network takes, and beside each other in a PNG file.

use std::io::Cursor;

use netspec::data::CIFAR10;

use crate::training::{MEAN, STD, VALUES};

/// Pixels of a row, and rows.
const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
/// Pixels of a file for one of a picture, in both directions.
const SCALE: usize = 4;
/// White pixels around a picture.
const GAP: usize = 8;

/// Bytes of red, then of green, then of blue, each row by row, as in a record of CIFAR-10.
pub(crate) type Picture = [u8; VALUES];

/// The labels and the pictures of a file of CIFAR-10's records.
pub(crate) fn records(file: &[u8]) -> Result<Vec<(usize, Picture)>, String> {
    let (records, rest) = file.as_chunks::<{ 1 + VALUES }>();
    if records.is_empty() || !rest.is_empty() {
        return Err(format!("expected records of {} bytes each, found {} bytes", 1 + VALUES, file.len()));
    }
    let record = |(at, record): (usize, &[u8; 1 + VALUES])| {
        let label = usize::from(record[0]);
        if label >= CIFAR10.len() {
            return Err(format!("record {at}: expected a label from 0 to {}, found {label}", CIFAR10.len() - 1));
        }
        let mut picture = [0; VALUES];
        picture.copy_from_slice(&record[1..]);
        Ok((label, picture))
    };
    records.iter().enumerate().map(record).collect()
}

/// The picture of a PNG file in colours.
pub(crate) fn decoded(file: &[u8]) -> Result<Picture, String> {
    let problem = |error: png::DecodingError| format!("this is no PNG picture that can be read: {error}");
    let mut decoder = png::Decoder::new(Cursor::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(problem)?;
    let (color, _) = reader.output_color_type();
    let (width, height) = reader.info().size();
    let mut bytes = [0; VALUES];
    if color != png::ColorType::Rgb || reader.output_buffer_size() != Some(VALUES) || width != height {
        return Err(format!("expected {SIDE} x {SIDE} pixels in RGB, found {width} x {height} in {color:?}"));
    }
    reader.next_frame(&mut bytes).map_err(problem)?;
    Ok(std::array::from_fn(|at| bytes[3 * (at % PLANE) + at / PLANE]))
}

/// What a network takes, of a picture's levels from 0 to 255.
pub(crate) fn input(levels: impl Iterator<Item = f32>) -> impl Iterator<Item = f32> {
    levels.enumerate().map(|(at, level)| (level / 255.0 - MEAN[at / PLANE]) / STD[at / PLANE])
}

/// The derivatives by a picture's levels, of those by what a network takes.
pub(crate) fn by_levels(derivatives: &[f32]) -> impl Iterator<Item = f32> {
    derivatives.iter().enumerate().map(|(at, derivative)| derivative / (255.0 * STD[at / PLANE]))
}

/// A PNG file of rows of pictures.
pub(crate) fn encoded(rows: &[Vec<Picture>]) -> Result<Vec<u8>, png::EncodingError> {
    let begin = |tile: usize| GAP + tile * (SCALE * SIDE + GAP);
    let (width, height) = (begin(rows.iter().map(Vec::len).max().unwrap_or(0)), begin(rows.len()));
    let mut bytes = vec![255; 3 * width * height];
    for (row, pictures) in rows.iter().enumerate() {
        for (column, picture) in pictures.iter().enumerate() {
            for at in 0..(SCALE * SIDE) * (SCALE * SIDE) {
                let (y, x) = (at / (SCALE * SIDE), at % (SCALE * SIDE));
                let pixel = y / SCALE * SIDE + x / SCALE;
                let to = &mut bytes[3 * ((begin(row) + y) * width + begin(column) + x)..][..3];
                to.copy_from_slice(&[picture[pixel], picture[PLANE + pixel], picture[2 * PLANE + pixel]]);
            }
        }
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bytes)?;
    writer.finish()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Picture {
        std::array::from_fn(|at| (at * 37 % 251) as u8)
    }

    fn png(color: png::ColorType, [width, height]: [u32; 2], bytes: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(color);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(bytes).unwrap();
        writer.finish().unwrap();
        file
    }

    #[test]
    fn records_are_read_whole_or_refused() {
        let file = [&[2], &picture()[..], &[9], &[7; VALUES]].concat();
        assert_eq!(records(&file), Ok(vec![(2, picture()), (9, [7; VALUES])]));
        assert_eq!(records(&file[1..]).unwrap_err(), "expected records of 3073 bytes each, found 6145 bytes");
        assert_eq!(records(&[]).unwrap_err(), "expected records of 3073 bytes each, found 0 bytes");
        let file = [&[2], &picture()[..], &[10], &[7; VALUES]].concat();
        assert_eq!(records(&file).unwrap_err(), "record 1: expected a label from 0 to 9, found 10");
    }

    #[test]
    fn a_png_file_has_the_planes_of_a_picture_or_is_refused() {
        let mut bytes = [0; VALUES];
        for (at, byte) in picture().into_iter().enumerate() {
            bytes[at % PLANE * 3 + at / PLANE] = byte;
        }
        assert_eq!(decoded(&png(png::ColorType::Rgb, [32, 32], &bytes)), Ok(picture()));
        let refused = |color, size, bytes: &[u8]| decoded(&png(color, size, bytes)).unwrap_err();
        let grey = refused(png::ColorType::Grayscale, [32, 32], &[0; PLANE]);
        assert_eq!(grey, "expected 32 x 32 pixels in RGB, found 32 x 32 in Grayscale");
        let flat = refused(png::ColorType::Rgb, [64, 16], &[0; VALUES]);
        assert_eq!(flat, "expected 32 x 32 pixels in RGB, found 64 x 16 in Rgb");
        assert!(decoded(b"no picture").unwrap_err().starts_with("this is no PNG picture that can be read: "));
    }

    #[test]
    fn pictures_stand_in_rows_on_white() {
        let file = encoded(&[vec![[10; VALUES]], vec![[20; VALUES], picture()]]).unwrap();
        let mut reader = png::Decoder::new(Cursor::new(&file)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut bytes).unwrap();
        let size = GAP + 2 * (SCALE * SIDE + GAP);
        assert_eq!(reader.info().size(), (size as u32, size as u32));
        let pixel = |y: usize, x: usize| &bytes[3 * (y * size + x)..][..3];
        let second = GAP + SCALE * SIDE + GAP;
        assert_eq!([pixel(0, 0), pixel(GAP, second)], [[255; 3]; 2]);
        assert_eq!([pixel(GAP, GAP), pixel(second, GAP)], [[10; 3], [20; 3]]);
        let [y, x] = [3, 5];
        let wanted = [0, 1, 2].map(|channel| picture()[channel * PLANE + y * SIDE + x]);
        assert_eq!(pixel(second + SCALE * y, second + SCALE * x), wanted);
        assert_eq!(pixel(second + SCALE * y + SCALE - 1, second + SCALE * x + SCALE - 1), wanted);
    }

    #[test]
    fn a_network_takes_levels_as_it_takes_records() {
        let levels = picture().map(f32::from);
        let taken: Vec<f32> = input(levels.into_iter()).collect();
        assert_eq!(taken[PLANE], (levels[PLANE] / 255.0 - 0.4823) / 0.2435);
        // One level more is one derivative by levels more.
        let slope: Vec<f32> = by_levels(&[1.0; VALUES]).collect();
        let more: Vec<f32> = input(levels.into_iter().map(|level| level + 1.0)).collect();
        assert!((0..VALUES).all(|at| (more[at] - taken[at] - slope[at]).abs() < 1e-6));
    }
}
