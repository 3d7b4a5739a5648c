//! The languages that are told apart, and how a chunk's is recognised.

use tantivy::tokenizer::Language as Stems;
use whatlang::{Detector, Lang, Script};

/// Text of a document that is looked at for its language, in bytes.
const SAMPLE: usize = 16 * 1024;

/// A language by its place among [`LANGUAGES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::index) struct Language(u8);

/// Those whose words are stemmed, with the codes that stand on disk; English is first, as ties go to the earlier. The
/// last is everything else that is written in Latin letters: its words are kept as they are.
const LANGUAGES: [(&str, Option<Lang>, Option<Stems>); 19] = [
    ("en", Some(Lang::Eng), Some(Stems::English)),
    ("de", Some(Lang::Deu), Some(Stems::German)),
    ("fr", Some(Lang::Fra), Some(Stems::French)),
    ("es", Some(Lang::Spa), Some(Stems::Spanish)),
    ("it", Some(Lang::Ita), Some(Stems::Italian)),
    ("pt", Some(Lang::Por), Some(Stems::Portuguese)),
    ("nl", Some(Lang::Nld), Some(Stems::Dutch)),
    ("sv", Some(Lang::Swe), Some(Stems::Swedish)),
    ("da", Some(Lang::Dan), Some(Stems::Danish)),
    ("no", Some(Lang::Nob), Some(Stems::Norwegian)),
    ("fi", Some(Lang::Fin), Some(Stems::Finnish)),
    ("hu", Some(Lang::Hun), Some(Stems::Hungarian)),
    ("ro", Some(Lang::Ron), Some(Stems::Romanian)),
    ("ru", Some(Lang::Rus), Some(Stems::Russian)),
    ("el", Some(Lang::Ell), Some(Stems::Greek)),
    ("tr", Some(Lang::Tur), Some(Stems::Turkish)),
    ("ar", Some(Lang::Ara), Some(Stems::Arabic)),
    ("ta", Some(Lang::Tam), Some(Stems::Tamil)),
    ("und", None, None),
];

impl Language {
    pub(in crate::index) const ENGLISH: Self = Self(0);
    pub(super) const OTHER: Self = Self(18);

    pub(in crate::index) fn all() -> impl Iterator<Item = Self> {
        (0_u8..).map(Self).take(LANGUAGES.len())
    }

    pub(super) fn number(self) -> usize {
        self.0.into()
    }

    /// The code on disk.
    pub(in crate::index) fn code(self) -> &'static str {
        LANGUAGES.get(self.number()).map_or("und", |(code, ..)| code)
    }

    pub(in crate::index) fn by_code(code: &str) -> Option<Self> {
        Self::all().find(|language| language.code() == code)
    }

    pub(super) fn stemmer(self) -> Option<Stems> {
        LANGUAGES.get(self.number()).and_then(|(.., stems)| *stems)
    }

    /// The language a text is surely in.
    ///
    /// Scripts without a stemmer count as English: nothing of English is done to their words, and the Latin words among
    /// them mostly are.
    fn recognised(text: &str) -> Option<Self> {
        let found = Detector::new().detect(text).filter(whatlang::Info::is_reliable)?;
        let known = Self::all().find(|language| {
            LANGUAGES.get(language.number()).is_some_and(|(_, lang, _)| *lang == Some(found.lang()))
        });
        Some(known.unwrap_or(if found.script() == Script::Latin { Self::OTHER } else { Self::ENGLISH }))
    }
}

/// The language of each chunk of a document; where one is too short or too odd to tell, that of the document.
pub(in crate::index) fn languages_of<'t>(texts: impl Iterator<Item = &'t str> + Clone) -> Vec<Language> {
    let mut sample = String::new();
    for text in texts.clone() {
        if sample.len() + text.len() > SAMPLE && !sample.is_empty() {
            break;
        }
        sample.push_str(text);
        sample.push('\n');
    }
    let document = Language::recognised(&sample).unwrap_or(Language::ENGLISH);
    texts.map(|text| Language::recognised(text).unwrap_or(document)).collect()
}
