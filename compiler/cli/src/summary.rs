//! `netc summary`.

use std::io::{self, Write};

use netspec_compiler::summary::{Row, Summary, summary};
use serde::Serialize;

use crate::Verdict;
use crate::args::{self, SummaryFormat};
use crate::compile::{compile, report, verdict};
use crate::text::{Inputs, Outputs, arrow, shape};
use netspec_compiler::ops::thousands;

pub(crate) fn run(args: &args::Summary) -> io::Result<Verdict> {
    let outcome = compile(&args.file, args.params.values());
    report(&outcome)?;
    if let Some(checked) = &outcome.checked {
        let summary = summary(checked);
        match args.format {
            SummaryFormat::Table => write!(io::stdout(), "{}", table(&summary))?,
            SummaryFormat::Json => writeln!(io::stdout(), "{}", json(&summary)?)?,
        }
    }
    Ok(verdict(&outcome, false))
}

const TITLES: [&str; 7] = ["name", "kind", "output", "parameters", "MACs", "receptive field", "times"];
/// The columns of numbers, which stand to the right.
const NUMBERS: [bool; 7] = [false, false, false, true, true, false, true];

/// The model's line, a line for each layer, the totals.
pub(crate) fn table(summary: &Summary) -> String {
    let mut rows = vec![TITLES.map(str::to_owned)];
    rows.extend(summary.layers.iter().map(cells));
    let (parameters, macs) = (thousands(summary.parameters), thousands(summary.macs));
    rows.push(["total", "", "", &parameters, &macs, "", ""].map(str::to_owned));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let rule = widths.iter().sum::<usize>() + 2 * (widths.len() - 1);

    let mut out = format!("{}: {}\n\n", summary.model, arrow(summary));
    for (index, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(widths).zip(NUMBERS).map(|((cell, width), number)| match number {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        if index == 1 || index + 1 == rows.len() {
            out += &format!("{}\n", "-".repeat(rule));
        }
        out += cells.collect::<Vec<_>>().join("  ").trim_end();
        out.push('\n');
    }
    out
}

fn cells(row: &Row) -> [String; 7] {
    [
        format!("{:indent$}{}", "", row.name, indent = 2 * row.depth),
        row.kind.clone(),
        shape(&row.output),
        thousands(row.parameters),
        thousands(row.macs),
        row.receptive_field.as_deref().map_or("-".to_owned(), shape),
        thousands(row.times),
    ]
}

fn json(summary: &Summary) -> serde_json::Result<String> {
    let layers = summary.layers.iter().map(|row| Layer {
        name: &row.name,
        kind: &row.kind,
        output: &row.output,
        parameters: row.parameters,
        macs: row.macs,
        receptive_field: row.receptive_field.as_deref(),
        times: row.times,
    });
    serde_json::to_string(&Model {
        model: &summary.model,
        parameters: summary.parameters,
        macs: summary.macs,
        input: Inputs(&summary.input),
        output: Outputs(&summary.output),
        layers: layers.collect(),
    })
}

#[derive(Serialize)]
struct Model<'a> {
    model: &'a str,
    parameters: u64,
    macs: u64,
    input: Inputs<'a>,
    output: Outputs<'a>,
    layers: Vec<Layer<'a>>,
}

#[derive(Serialize)]
struct Layer<'a> {
    name: &'a str,
    kind: &'a str,
    output: &'a [u64],
    parameters: u64,
    macs: u64,
    receptive_field: Option<&'a [u64]>,
    times: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net() -> Summary {
        let row = |name: &str, kind: &str, output: &[u64], parameters, macs| Row {
            name: name.to_owned(),
            kind: kind.to_owned(),
            output: output.to_vec(),
            parameters,
            macs,
            receptive_field: None,
            times: 1,
            depth: 0,
        };
        let mut conv = row("conv", "conv", &[16, 32, 32], 23_200, 23_592_960);
        (conv.receptive_field, conv.times, conv.depth) = (Some(vec![23, 23]), 10, 1);
        Summary {
            model: "Net".to_owned(),
            parameters: 56_001,
            macs: 23_625_728,
            input: vec![("image".to_owned(), vec![16, 32, 32])],
            output: vec![vec![2]],
            layers: vec![conv, row("fc1", "linear", &[2], 32_801, 32_768)],
        }
    }

    #[test]
    fn the_table_lines_up() {
        assert_eq!(
            table(&net()),
            "\
Net: 16 x 32 x 32 -> 2

name    kind    output        parameters        MACs  receptive field  times
----------------------------------------------------------------------------
  conv  conv    16 x 32 x 32      23,200  23,592,960  23 x 23             10
fc1     linear  2                 32,801      32,768  -                    1
----------------------------------------------------------------------------
total                             56,001  23,625,728
"
        );
    }

    #[test]
    fn json_has_the_same_figures() {
        let expected = concat!(
            r#"{"model":"Net","parameters":56001,"macs":23625728,"input":[16,32,32],"output":[2],"layers":["#,
            r#"{"name":"conv","kind":"conv","output":[16,32,32],"parameters":23200,"macs":23592960,"#,
            r#""receptive_field":[23,23],"times":10},"#,
            r#"{"name":"fc1","kind":"linear","output":[2],"parameters":32801,"macs":32768,"#,
            r#""receptive_field":null,"times":1}]}"#,
        );
        assert_eq!(json(&net()).unwrap(), expected);
    }
}
