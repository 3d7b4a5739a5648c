//! Putting the glyphs of a page together into words, lines and paragraphs.
//!
//! A PDF says where glyphs stand, and in most files not where words end. Glyphs are taken in the order in which they are drawn,
//! which is the reading order of nearly all that is written by programs for text, columns included. A gap along the line
//! is a space, a step across it a new line, and a wide step a new paragraph.

/// A gap of this part of the font's size is a space.
const SPACE: f64 = 0.17;
/// A step across the line of this part of the size begins a new line, so that raised and lowered signs do not.
const LINE: f64 = 0.6;
/// A step back along the line of so many sizes begins a new line as well.
const BACK: f64 = 1.2;
/// A line so many sizes further down begins a new paragraph.
const PARAGRAPH: f64 = 1.75;

/// A point on the page.
pub(super) type Point = (f64, f64);

/// A glyph's text, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed<'t> {
    pub(super) text: &'t str,
    /// Where it begins on its baseline, and where the next one would.
    pub(super) start: Point,
    pub(super) end: Point,
    /// The size of its font on the page.
    pub(super) size: f64,
}

/// The text of a page so far.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    last: Option<Last>,
}

/// The last glyph.
#[derive(Debug, Clone, Copy)]
struct Last {
    start: Point,
    end: Point,
    size: f64,
    /// The direction of the line, of length 1.
    along: Point,
}

impl Page {
    /// Bytes of text so far.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Adds the glyph that is drawn next.
    pub(super) fn place(&mut self, glyph: &Placed<'_>) {
        if let Some(last) = self.last {
            // The same glyph drawn again, a little beside itself, is how bold is faked.
            if near(last.start, glyph.start, 0.1 * glyph.size) && self.text.ends_with(glyph.text) {
                return;
            }
            self.step(&last, glyph);
        }
        for character in glyph.text.chars() {
            match character {
                c if c.is_whitespace() => self.space(),
                '\u{ad}' => self.text.push('-'),
                c if c.is_control() => {}
                c => self.text.push(c),
            }
        }
        let along = direction(glyph.start, glyph.end).or(self.last.map(|last| last.along));
        let along = along.unwrap_or((1.0, 0.0));
        self.last = Some(Last { start: glyph.start, end: glyph.end, size: glyph.size, along });
    }

    /// The text, without white space at its ends.
    pub(super) fn finish(self) -> String {
        self.text.trim().to_owned()
    }

    /// Writes what stands between the last glyph and the next.
    fn step(&mut self, last: &Last, next: &Placed<'_>) {
        let size = last.size.max(next.size).max(f64::MIN_POSITIVE);
        let (x, y) = (next.start.0 - last.end.0, next.start.1 - last.end.1);
        let along = (x * last.along.0 + y * last.along.1) / size;
        let across = (y * last.along.0 - x * last.along.1).abs() / size;
        if across > LINE || along < -BACK {
            self.line(across > PARAGRAPH);
        } else if along > SPACE {
            self.space();
        }
    }

    fn space(&mut self) {
        if !self.text.ends_with(char::is_whitespace) {
            self.text.push(' ');
        }
    }

    fn line(&mut self, paragraph: bool) {
        self.text.truncate(self.text.trim_end().len());
        self.text.push_str(if paragraph { "\n\n" } else { "\n" });
    }
}

fn near(one: Point, other: Point, distance: f64) -> bool {
    (one.0 - other.0).abs() < distance && (one.1 - other.1).abs() < distance
}

/// The direction from one point to another, of length 1; none if they are the same.
fn direction(from: Point, to: Point) -> Option<Point> {
    let (x, y) = (to.0 - from.0, to.1 - from.1);
    let length = x.hypot(y);
    (length > 1e-9 && length.is_finite()).then(|| (x / length, y / length))
}

/// `text` with the words joined again that a hyphen parts at the end of a line.
pub(super) fn unhyphenated(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("-\n") {
        joined.push_str(before);
        let parted = before.ends_with(char::is_lowercase) && after.starts_with(char::is_lowercase);
        // A word that has a hyphen already keeps this one too.
        let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
        if !parted || word.contains('-') {
            joined.push('-');
        }
        if !parted {
            joined.push('\n');
        }
        rest = after;
    }
    joined.push_str(rest);
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of runs of glyphs, each of size 10 and 5 wide, that begin at `x` and `y`.
    fn page(runs: &[(f64, f64, &str)]) -> String {
        let mut page = Page::default();
        for (x, y, text) in runs {
            let mut x = *x;
            for glyph in text.split_inclusive(|_| true) {
                page.place(&Placed { text: glyph, start: (x, *y), end: (x + 5.0, *y), size: 10.0 });
                x += 5.0;
            }
        }
        page.finish()
    }

    #[test]
    fn gaps_become_spaces_lines_and_paragraphs() {
        for (runs, text) in [
            (&[(0.0, 700.0, "Green"), (26.0, 700.0, "s"), (34.0, 700.0, "tea")][..], "Greens tea"),
            (&[(0.0, 700.0, "Green "), (30.0, 700.0, " tea")], "Green tea"),
            (&[(0.0, 700.0, "Green"), (0.0, 688.0, "tea")], "Green\ntea"),
            (&[(0.0, 700.0, "Green"), (0.0, 670.0, "tea")], "Green\n\ntea"),
            (&[(0.0, 700.0, "H"), (5.0, 697.0, "2"), (10.0, 700.0, "O")], "H2O"),
            (&[(300.0, 700.0, "right"), (0.0, 700.0, "left")], "right\nleft"),
            (&[(0.0, 700.0, "b"), (0.2, 700.0, "b"), (5.0, 700.0, "old")], "bold"),
            (&[(0.0, 700.0, " \t"), (40.0, 700.0, "\u{7}x")], "x"),
        ] {
            assert_eq!(page(runs), text, "{runs:?}");
        }
    }

    #[test]
    fn text_that_runs_up_the_page_is_read_along_its_own_line() {
        let mut page = Page::default();
        for (at, text) in ["u", "p", " ", "t", "o"].into_iter().enumerate() {
            let y = 5.0 * f64::from(u32::try_from(at).unwrap());
            page.place(&Placed { text, start: (50.0, y), end: (50.0, y + 5.0), size: 10.0 });
        }
        assert_eq!(page.finish(), "up to");
    }

    #[test]
    fn places_that_are_no_numbers_do_no_harm() {
        let mut page = Page::default();
        for place in [f64::NAN, f64::INFINITY, -f64::INFINITY, 0.0, 1e300] {
            page.place(&Placed { text: "x", start: (place, place), end: (place, 0.0), size: place });
        }
        assert_eq!(page.finish().matches('x').count(), 5);
    }

    #[test]
    fn words_parted_at_the_end_of_a_line_are_joined() {
        for (text, joined) in [
            ("for exam-\nple this", "for example this"),
            ("state-of-the-\nart", "state-of-the-art"),
            ("Franco-\nGerman", "Franco-\nGerman"),
            ("10-\n20", "10-\n20"),
            ("a list:\n-\nb-\n", "a list:\n-\nb-\n"),
        ] {
            assert_eq!(unhyphenated(text), joined);
        }
    }
}
