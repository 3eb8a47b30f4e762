//! Handwritten digits of 8 x 8 (Alpaydin and Kaynak 1998), a part of this crate.

use std::path::Path;

use super::file::Bytes;
use super::{Dataset, Error, Split, Targets};

/// See `runtime/data/LICENSE-digits.md`.
static FILE: &[u8] = include_bytes!("../../data/digits.csv.gz");

const RECORDS: usize = 1_797;
const PIXELS: usize = 64;

/// 1,797 handwritten digits `[1, 8, 8]` in grey. Every fifth, from the fifth on, is to test with: 359; the others, 1,438, are to
/// train with.
///
/// E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998, CC BY 4.0.
///
/// # Errors
///
/// None, as long as this crate is as it was published.
pub fn digits() -> Result<Dataset, Error> {
    let path = Path::new("digits.csv.gz");
    let mut bytes = Bytes::new(path, FILE);
    let text = bytes.rest()?;
    let (train, test) = split(path, &text)?;
    Ok(Dataset { shape: vec![1, 8, 8], classes: (0..10).map(|digit| digit.to_string()).collect(), train, test })
}

/// Lines of 64 pixels from 0 to 16 and a digit.
fn split(path: &Path, text: &[u8]) -> Result<(Split, Split), Error> {
    let mut parts = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    let mut offset = 0;
    let mut records = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let (pixels, labels) = &mut parts[usize::from(records % 5 == 4)];
        let numbers = line.trim_ascii().split(|&byte| byte == b',');
        let mut count = 0;
        for (place, text) in numbers.enumerate() {
            let most = if place < PIXELS { 16 } else { 9 };
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u8>().ok());
            let Some(number) = number.filter(|&number| number <= most && place <= PIXELS) else {
                let wanted =
                    if place <= PIXELS { format!("a number from 0 to {most}") } else { "a line's end".to_owned() };
                return Err(Error::content(path, offset, wanted, format!("`{}`", String::from_utf8_lossy(text))));
            };
            if place < PIXELS {
                pixels.push(number)
            } else {
                labels.push(usize::from(number))
            }
            offset += text.len() + 1;
            count += 1;
        }
        if count != PIXELS + 1 {
            return Err(Error::content(path, offset, format!("{} numbers a line", PIXELS + 1), count.to_string()));
        }
        records += 1;
    }
    if records != RECORDS {
        return Err(Error::content(path, offset, format!("{RECORDS} lines"), records.to_string()));
    }
    let [train, test] = parts.map(|(pixels, labels)| Split::of_bytes(pixels, 16.0, PIXELS, Targets::Labels(labels)));
    Ok((train, test))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fifth_digit_is_to_test_with() {
        let data = digits().unwrap();
        assert_eq!((data.train.records(), data.test.records()), (1_438, 359));
        // The file begins with the digits 0 to 9 in order.
        assert_eq!(data.train.labels().unwrap()[..8], [0, 1, 2, 3, 5, 6, 7, 8]);
        assert_eq!(data.test.labels().unwrap()[..2], [4, 9]);
        let mut image = [0.0; 64];
        data.train.feed(0, &mut image);
        assert_eq!(image[..8], [0.0, 0.0, 5.0 / 16.0, 13.0 / 16.0, 9.0 / 16.0, 1.0 / 16.0, 0.0, 0.0]);
    }

    #[test]
    fn another_text_is_told_with_the_place() {
        let error = |text: &str| split(Path::new("x"), text.as_bytes()).unwrap_err().to_string();
        let line = "0,".repeat(64) + "7\n";
        assert_eq!(error("0,17"), "x: at byte 2: expected a number from 0 to 16, found `17`");
        assert_eq!(error(""), "x: at byte 0: expected 1797 lines, found 0");
        assert_eq!(error(&format!("{line}0,1\n")), "x: at byte 134: expected 65 numbers a line, found 2");
        assert_eq!(error(&line.replace("7\n", "10\n")), "x: at byte 128: expected a number from 0 to 9, found `10`");
        assert_eq!(error(&line.replace('7', "7,1")), "x: at byte 130: expected a line's end, found `1`");
    }
}
