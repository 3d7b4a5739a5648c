//! The text of every page, from the glyphs that an interpreter of the file draws.

use std::panic::resume_unwind;

use agentkit_core::{Error, Result};
use hayro_interpret::font::{Glyph, GlyphRun, PositionedGlyph};
use hayro_interpret::hayro_cmap::BfString;
use hayro_interpret::hayro_syntax::page::Page as PdfPage;
use hayro_interpret::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use hayro_interpret::kurbo::{Affine, BezPath, Point, Rect};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache,
    InterpreterSettings, SoftMask, interpret_page,
};

use super::super::limits::Budget;
use super::layout::{Page, Placed, unhyphenated};

/// After so many things drawn the time is looked at.
const DRAWN_PER_LOOK: u32 = 256;
/// Parts of an em that fonts measure in.
const UNITS: f64 = 1000.0;
/// The width of a glyph whose font does not say, in those.
const USUAL_WIDTH: f32 = 500.0;
/// Longer titles are none.
const MAX_TITLE_BYTES: usize = 300;

/// What a file holds.
#[derive(Debug)]
pub(super) struct Extracted {
    pub(super) title: Option<String>,
    pub(super) pages: Vec<String>,
}

/// Reads the text of all pages.
pub(super) fn extract(bytes: Vec<u8>, budget: Budget) -> Result<Extracted> {
    let pdf = Pdf::new(bytes).map_err(|error| refused(error, &budget))?;
    budget.check_parts("pages", pdf.pages().len())?;
    let cache = InterpreterCache::new();
    let mut reader = Reader { budget, page: Page::default(), drawn: 0, earlier: 0 };
    let mut pages = Vec::new();
    for page in pdf.pages().iter() {
        read(page, &pdf, &cache, &mut reader);
        let text = unhyphenated(&std::mem::take(&mut reader.page).finish());
        reader.earlier += text.len();
        pages.push(text);
        reader.budget.check_text(reader.earlier)?;
    }
    let title = pdf.metadata().title.as_deref().and_then(|title| usable(&decoded(title)));
    Ok(Extracted { title, pages })
}

fn read<'a>(page: &PdfPage<'a>, pdf: &'a Pdf, cache: &InterpreterCache<'a>, reader: &mut Reader) {
    let area = Rect::new(0.0, 0.0, 1.0, 1.0);
    let settings = InterpreterSettings::default();
    let mut context = Context::new(Affine::IDENTITY, area, cache, pdf.xref(), settings);
    interpret_page(page, &mut context, reader);
}

fn refused(error: LoadPdfError, budget: &Budget) -> Error {
    match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
            budget.unsupported("it is encrypted and needs a password; save it without one")
        }
        LoadPdfError::Decryption(_) => budget.unsupported("it is encrypted in a way that is not read"),
        LoadPdfError::Invalid => budget.malformed("it is damaged, or no PDF file"),
    }
}

/// Takes the glyphs that are drawn on a page.
struct Reader {
    budget: Budget,
    page: Page,
    drawn: u32,
    /// Bytes of text of the pages before.
    earlier: usize,
}

impl Reader {
    /// Counts what is drawn. Past a limit it unwinds up to the guard, since nothing else stops the interpreter.
    fn count(&mut self) {
        self.drawn = self.drawn.wrapping_add(1);
        if self.drawn.is_multiple_of(DRAWN_PER_LOOK)
            && let Err(error) = self.budget.check_text(self.earlier + self.page.len())
        {
            resume_unwind(Box::new(error));
        }
    }

    fn glyph(&mut self, glyph: &PositionedGlyph<'_>, props: &DrawProps<'_>) {
        self.count();
        let text = match glyph.as_unicode() {
            Some(BfString::Char(character)) => character.to_string(),
            Some(BfString::String(text)) => text,
            None => return,
        };
        let width = match &**glyph {
            Glyph::Outline(outline) => outline.advance_width(),
            Glyph::Type3(drawn) => drawn.advance_width(),
        };
        let to_page = props.transform * glyph.transform();
        let start = to_page * Point::ZERO;
        let end = to_page * Point::new(f64::from(width.unwrap_or(USUAL_WIDTH)), 0.0);
        let size = (to_page * Point::new(0.0, UNITS)).distance(start);
        self.page.place(&Placed { text: &text, start: (start.x, start.y), end: (end.x, end.y), size });
    }
}

impl Device<'_> for Reader {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, '_>, props: DrawProps<'_>, _: &DrawMode) {
        for glyph in run.glyphs() {
            self.glyph(glyph, &props);
        }
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'_>, _: &DrawMode) {
        self.count();
    }

    fn draw_image(&mut self, _: Image<'_, '_>, _: ImageDrawProps<'_>) {
        self.count();
    }

    fn push_clip_path(&mut self, _: &ClipPath) {
        self.count();
    }

    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'_>>, _: BlendMode) {
        self.count();
    }

    fn pop_clip(&mut self) {}

    fn pop_transparency_group(&mut self) {}
}

/// A text string of the properties: UTF-16 or UTF-8 by its mark, else one byte a character.
fn decoded(bytes: &[u8]) -> String {
    match bytes {
        [0xFE, 0xFF, rest @ ..] => {
            let units = rest
                .chunks_exact(2)
                .map(|pair| pair.iter().fold(0, |unit, byte| unit << 8 | u16::from(*byte)));
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        [0xEF, 0xBB, 0xBF, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        bytes => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// `title` on one line, unless it is what programs put there for want of one.
fn usable(title: &str) -> Option<String> {
    let words = title.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let title = words.collect::<Vec<_>>().join(" ");
    let lower = title.to_lowercase();
    let is_file = [".doc", ".docx", ".dvi", ".indd", ".odt", ".pdf", ".ps", ".qxd", ".rtf", ".tex", ".txt"]
        .iter()
        .any(|extension| lower.ends_with(extension));
    let none = lower.starts_with("untitled") || lower.starts_with("microsoft word -");
    let named = title.contains(char::is_alphabetic) && title.len() <= MAX_TITLE_BYTES;
    (named && !is_file && !none).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_decoded_and_those_of_programs_left_out() {
        for (bytes, title) in [
            (&b"On tea"[..], Some("On tea")),
            (b"\xFE\xFF\0T\0e\0\xE9", Some("Teé")),
            (b"\xEF\xBB\xBFT\xC3\xA9", Some("Té")),
            (b"Caf\xE9 \r\n menu", Some("Café menu")),
            (b"\xFE\xFF\xD8", None),
            (b"Microsoft Word - a", None),
            (b"report_final.DOCX", None),
            (b"untitled", None),
            (b" 12 ", None),
            (b"", None),
        ] {
            assert_eq!(usable(&decoded(bytes)).as_deref(), title, "{bytes:?}");
        }
    }
}
