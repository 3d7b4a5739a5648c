//! CSV and TSV: rows with the names of their columns, in one document or in one each.

use agentkit_core::{Result, Scalar};
use csv::{ReaderBuilder, StringRecord};

use super::records::{Collector, Field, Gathered, Layout, Record, RecordMapping};
use super::{Loader, RawFile};
use crate::source::{SourceDocument, SourceKind};

/// A row is a line.
const LAYOUT: Layout = Layout { kind: SourceKind::Table, separator: "; ", gap: "\n" };
/// What may stand between two cells, the likelier first.
const DELIMITERS: [u8; 4] = *b",;\t|";
/// Rows that are looked at to find out which it is.
const ROWS_LOOKED_AT: usize = 20;
/// Bytes of the file's start that are looked at for it.
const BYTES_LOOKED_AT: usize = 64 << 10;

/// Whether the first row of a table names its columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Header {
    /// It does if all its cells are different, not empty, and no numbers.
    #[default]
    Guess,
    /// It does.
    Present,
    /// It does not.
    Absent,
}

/// Loads tables of separated values.
///
/// Each row is a line of the source text, its cells after the names of their columns. With a [`RecordMapping`], or if a
/// column is called `text`, `content`, `body` or `passage`, each row is a document of its own. Rows are counted as a
/// spreadsheet does: the header is row 1.
///
/// # Examples
/// ```
/// # fn main() -> agentkit_core::Result<()> {
/// let csv = b"drink,degrees\ngreen tea,80\ncoffee,94\n";
/// let document = agentkit_rag::load::load_bytes("drinks", "csv", csv)?;
/// assert_eq!(document.source_text, "drink: green tea; degrees: 80\ndrink: coffee; degrees: 94");
/// assert_eq!(document.marks[1].row, Some(3));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CsvLoader {
    mapping: Option<RecordMapping>,
    header: Header,
}

impl CsvLoader {
    /// Says which columns are id, title, text and metadata.
    #[must_use]
    pub fn mapping(mut self, mapping: RecordMapping) -> Self {
        self.mapping = Some(mapping);
        self
    }

    /// Says whether the first row names the columns.
    #[must_use]
    pub fn header(mut self, header: Header) -> Self {
        self.header = header;
        self
    }
}

impl Loader for CsvLoader {
    fn extensions(&self) -> &[&str] {
        &["csv", "tsv", "tab"]
    }

    fn media_types(&self) -> &[&str] {
        &["text/csv", "text/tab-separated-values"]
    }

    fn load(&self, raw: &RawFile<'_>) -> Result<SourceDocument> {
        let mut gathered = Gathered::new(raw, LAYOUT);
        self.rows(raw, &mut |record| gathered.add(record))?;
        gathered.finish()
    }

    fn load_all(&self, raw: &RawFile<'_>) -> Result<Vec<SourceDocument>> {
        let mut collector = Collector::new(raw, LAYOUT, self.mapping.as_ref());
        self.rows(raw, &mut |record| collector.add(record))?;
        collector.finish()
    }
}

impl CsvLoader {
    /// Visits the rows below the header.
    fn rows(&self, raw: &RawFile<'_>, visit: &mut dyn FnMut(&Record) -> Result<()>) -> Result<()> {
        let text = raw.utf8()?;
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter(text))
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes());
        let mut names: Option<Vec<String>> = None;
        let mut cells = StringRecord::new();
        let mut row = 0;
        while reader.read_record(&mut cells).map_err(|error| failed(raw, row + 1, error))? {
            row += 1;
            if let Some(names) = &names {
                visit(&record(row, &cells, names))?;
            } else if self.is_header(&cells) {
                names = Some(cells.iter().map(|name| name.trim().to_owned()).collect());
            } else {
                visit(&record(row, &cells, names.insert(Vec::new())))?;
            }
        }
        // A row that was taken for a header, with nothing below it, is all there is to read.
        match names.filter(|names| row == 1 && !names.is_empty() && self.header == Header::Guess) {
            Some(names) => visit(&record(1, &names.into(), &[])),
            None => Ok(()),
        }
    }

    fn is_header(&self, cells: &StringRecord) -> bool {
        let named = |(at, cell): (usize, &str)| {
            let cell = cell.trim();
            !cell.is_empty()
                && cell.parse::<f64>().is_err()
                && cells.iter().take(at).all(|other| other.trim() != cell)
        };
        match self.header {
            Header::Guess => cells.iter().enumerate().all(named),
            Header::Present => true,
            Header::Absent => false,
        }
    }
}

/// A row with the names of its columns, as far as they have any.
fn record(row: u64, cells: &StringRecord, names: &[String]) -> Record {
    let names = names.iter().map(String::as_str).chain(std::iter::repeat(""));
    let field = |(cell, name): (&str, &str)| Field {
        name: name.to_owned(),
        text: cell.split_whitespace().collect::<Vec<_>>().join(" "),
        scalar: scalar(cell.trim()),
    };
    Record { row, fields: cells.iter().zip(names).map(field).collect() }
}

/// A cell as metadata: a number if it is written as one, else its text.
fn scalar(cell: &str) -> Option<Scalar> {
    let number = cell.parse::<f64>().ok().filter(|number| number.is_finite());
    let plain = cell.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
    match number {
        Some(number) if plain => Some(Scalar::Number(number)),
        _ => (!cell.is_empty()).then(|| Scalar::from(cell)),
    }
}

/// What stands between the cells: that which cuts the first rows into the same number of cells, two at least, best.
fn delimiter(text: &str) -> u8 {
    let start = text.get(..crate::chunk::floor_boundary(text, BYTES_LOOKED_AT)).unwrap_or_default();
    let agreement = |delimiter: u8| {
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(start.as_bytes());
        let rows = reader.records().take(ROWS_LOOKED_AT).filter_map(std::result::Result::ok);
        let widths: Vec<usize> = rows.map(|row| row.len()).collect();
        let first = widths.first().copied().unwrap_or_default();
        let same = widths.iter().filter(|width| **width == first).count();
        if first < 2 { (0, 0) } else { (same * 100 / widths.len().max(1), first) }
    };
    // The first of equals, so the likelier one.
    let best = DELIMITERS.into_iter().rev().max_by_key(|delimiter| agreement(*delimiter));
    best.unwrap_or(b',')
}

fn failed(raw: &RawFile<'_>, row: u64, error: csv::Error) -> agentkit_core::Error {
    agentkit_core::Error::invalid_input(format!("load {}: row {row} is malformed", raw.name()))
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use agentkit_core::DocumentId;

    use super::*;

    fn raw(text: &str) -> RawFile<'_> {
        RawFile::new(DocumentId::new("t.csv").unwrap(), text.as_bytes())
    }

    fn loaded(text: &str) -> SourceDocument {
        CsvLoader::default().load(&raw(text)).unwrap()
    }

    #[test]
    fn rows_are_read_whatever_separates_their_cells() {
        for text in [
            "name,kind\nAda,\"tea, green\"\n",
            "name;kind\nAda;tea, green\n",
            "name\tkind\r\nAda\ttea, green\r\n",
            "\u{feff}name|kind\nAda|tea, green",
        ] {
            let document = loaded(text);
            assert_eq!(document.source_text, "name: Ada; kind: tea, green", "{text:?}");
            assert_eq!((document.kind, document.marks[0].row), (SourceKind::Table, Some(2)));
        }
    }

    #[test]
    fn rows_of_any_width_and_without_header_are_kept() {
        assert_eq!(loaded("1,2,3\na,b,c,d\n\nx\n").source_text, "1; 2; 3\na; b; c; d\nx");
        assert_eq!(loaded("a,b\nc,d,e\nf\n").source_text, "a: c; b: d; e\na: f");
        assert_eq!(loaded("Industry\nFinance\nSales").source_text, "Industry: Finance\nIndustry: Sales");
        assert_eq!(loaded("a,a\nb,c\n").source_text, "a; a\nb; c");
        assert_eq!(loaded("").source_text, "");
        assert_eq!(loaded("a,\"open\nb,c\n").source_text, "a; open b,c", "the only row is no header");
    }

    #[test]
    fn a_line_break_in_a_cell_does_not_shift_the_rows() {
        let document = loaded("n,text\n1,\"two\nlines\"\n2,x\n");
        assert_eq!(document.source_text, "n: 1; text: two lines\nn: 2; text: x");
        let at = document.source_text.find("n: 2").unwrap();
        assert_eq!(document.locator(agentkit_core::Span::new(at, at + 4)).row, Some(3));
    }

    #[test]
    fn a_column_of_texts_makes_documents() {
        let documents =
            CsvLoader::default().load_all(&raw("id,text,year\nx,Tea.,2024\ny,,2025\nz,Milk.,\n")).unwrap();
        let found: Vec<_> = documents.iter().map(|d| (d.id.as_str(), d.source_text.as_str())).collect();
        assert_eq!(found, [("t.csv#x", "Tea."), ("t.csv#z", "Milk.")]);
        assert_eq!(documents[0].metadata.values("year"), [2024.into()]);
        assert_eq!(CsvLoader::default().load_all(&raw("a,b\n1,2\n")).unwrap().len(), 1);
    }

    #[test]
    fn more_rows_than_allowed_are_refused() {
        let limits = super::super::LoadLimits { records: 2, ..super::super::LoadLimits::default() };
        let error = CsvLoader::default().load(&raw("1\n2\n3\n").with_limits(limits)).unwrap_err();
        assert_eq!(error.kind(), agentkit_core::ErrorKind::ResourceExhausted);
    }
}
