//! The definitions of a source file and what they stand in.

use super::language::Language;
use crate::source::Heading;

/// Longest title in bytes; what is longer is cut at its parameters or here.
const MAX_TITLE_BYTES: usize = 120;
/// Lines longer than this define nothing: they are generated or packed.
const MAX_LINE_BYTES: usize = 1000;
/// Words that begin statements, which look like definitions of functions otherwise.
const STATEMENTS: [&str; 16] = [
    "if", "else", "for", "while", "switch", "catch", "return", "do", "try", "using", "lock", "new", "throw",
    "case", "foreach", "with",
];

/// The headings of `code`, by offset.
pub(super) fn outline(code: &str, language: Language) -> Vec<Heading> {
    let mut outline =
        Outline { language, headings: Vec::new(), open: Vec::new(), above: None, comment: None };
    let mut offset = 0;
    for line in code.split_inclusive('\n') {
        outline.line(line.trim_end(), offset);
        offset += line.len();
    }
    outline.headings
}

/// The work on one file, line by line.
struct Outline {
    language: Language,
    headings: Vec<Heading>,
    /// The indentations of the definitions that are open.
    open: Vec<usize>,
    /// Where the comments and attributes begin that stand right above the present line.
    above: Option<usize>,
    /// What ends the comment or text that the present line lies in.
    comment: Option<&'static str>,
}

impl Outline {
    fn line(&mut self, line: &str, offset: usize) {
        if let Some(end) = self.comment {
            if line.contains(end) {
                self.comment = None;
            }
            return;
        }
        let text = line.trim_start();
        if text.is_empty() {
            self.above = None;
            return;
        }
        if let Some(end) = opens_comment(text) {
            self.above.get_or_insert(offset);
            self.comment = Some(end);
            return;
        }
        if is_remark(text) {
            self.above.get_or_insert(offset);
            return;
        }
        let above = self.above.take();
        if let Some(title) = title(text, self.language) {
            self.define(line.len() - text.len(), above.unwrap_or(offset), title);
        }
    }

    fn define(&mut self, indentation: usize, offset: usize, title: &str) {
        while self.open.last().is_some_and(|outer| *outer >= indentation) {
            self.open.pop();
        }
        self.open.push(indentation);
        let level = u8::try_from(self.open.len()).unwrap_or(u8::MAX);
        self.headings.push(Heading { offset, level, title: title.to_owned() });
    }
}

/// The end of the comment or documentation that `text` begins and does not end.
fn opens_comment(text: &str) -> Option<&'static str> {
    let pairs = [("/*", "*/"), ("\"\"\"", "\"\"\""), ("'''", "'''"), ("=begin", "=end")];
    pairs.into_iter().find_map(|(begin, end)| {
        let rest = text.strip_prefix(begin)?;
        (!rest.contains(end)).then_some(end)
    })
}

/// Whether a line only says something about the next one: a comment, an attribute or a decorator.
fn is_remark(text: &str) -> bool {
    let comment = ["//", "/*", "--", "#[", "# ", "@", "\"\"\"", "'''", "[["]
        .iter()
        .any(|begin| text.starts_with(begin));
    let attribute = text.starts_with('[') && text.ends_with(']');
    let template = text.starts_with("template") && text.ends_with('>');
    (comment && !text.starts_with("@interface")) || attribute || template || text == "#"
}

/// What `text` defines: its words up to the parameters or the body.
fn title(text: &str, language: Language) -> Option<&str> {
    if text.len() > MAX_LINE_BYTES || text.ends_with(';') && !text.contains('{') {
        return None;
    }
    let keyword = at_keyword(text, language);
    let start = match keyword {
        Some(start) => start,
        None if language.by_braces && is_function(text) => text,
        None => return None,
    };
    // The receiver of a method stands before its name in Go.
    let from = if start.starts_with("func (") { start.find(')').map_or(0, |at| at + 1) } else { 0 };
    let is_impl = start.starts_with("impl");
    let ends = |c: char| matches!(c, '{' | ';' | '=') || (!is_impl && matches!(c, '(' | '<' | ':'));
    let end = start.get(from..)?.find(ends).map_or(start.len(), |at| from + at);
    let title = start.get(..end)?.trim();
    let title = title.get(..crate::chunk::floor_boundary(title, MAX_TITLE_BYTES)).unwrap_or(title).trim_end();
    title.contains(|c: char| c.is_alphanumeric()).then_some(title)
}

/// `text` from the word on that begins a definition, if only modifiers stand before it.
fn at_keyword(text: &str, language: Language) -> Option<&str> {
    let mut rest = text;
    loop {
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '(' | '<' | '{' | '"'))
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if language.keywords.contains(&word) {
            return (after.starts_with([' ', '\t', '<', '('])).then_some(rest);
        }
        if !language.modifiers.contains(&word) {
            return None;
        }
        // `pub(crate)` and `extern "C"` carry something along.
        let after = match after.chars().next() {
            Some('(') => after.split_once(')')?.1,
            Some('<') => after.split_once('>')?.1,
            _ => after,
        };
        let after = after.trim_start();
        rest = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?.1.trim_start(),
            None => after,
        };
    }
}

/// Whether `text` looks like the first line of a function without a keyword: a name, parameters, and a brace or
/// arrow at its end.
fn is_function(text: &str) -> bool {
    let Some((before, after)) = text.split_once('(') else { return false };
    let first = before.split(|c: char| !c.is_alphanumeric() && c != '_').find(|word| !word.is_empty());
    let statement = first.is_none_or(|first| STATEMENTS.contains(&first));
    let arrow = after.contains("=>") && text.ends_with('{') && !before.contains('.');
    let plain =
        text.ends_with('{') && after.contains(')') && !before.contains(['=', '.', '"', '\'', '+', '!']);
    !statement && (plain || arrow)
}
