//! Texts with the shape of language: a few words are everywhere, most are rare.

/// Fewest words of a text.
const LEAST_WORDS: u64 = 60;
/// Most words of a text.
const MOST_WORDS: u64 = 120;
/// Distinct words.
const VOCABULARY: f64 = 500_000.0;
/// The most common words, which analyses leave out as they do with real text.
const COMMON: [&str; 33] = [
    "the", "of", "and", "to", "a", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on",
    "not", "or", "are", "but", "at", "this", "an", "they", "their", "there", "will", "if", "such", "no",
    "these", "then", "into",
];
const CONSONANTS: &[u8; 17] = b"tnsrhldcmpfgbvkjz";
const VOWELS: &[u8; 5] = b"eaoiu";

/// The generator `SplitMix64` of Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, or 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// About normally distributed with deviation 1: the sum of four uniform numbers.
    pub(super) fn normal(&mut self) -> f32 {
        let bytes = self.next().to_le_bytes();
        let sum: f32 = bytes.as_chunks().0.iter().map(|pair| f32::from(u16::from_le_bytes(*pair))).sum();
        (sum - 131_070.0) / 37_837.23
    }

    /// A word's place in the order of frequency, by Zipf's law: the n-th is drawn with probability ∝ 1/n.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and the vocabulary"
    )]
    fn rank(&mut self) -> usize {
        let uniform = f64::from(u32::try_from(self.next() >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        (VOCABULARY.powf(uniform) - 1.0) as usize
    }
}

/// The text of document `number`.
pub(super) fn text(number: u64) -> String {
    let mut random = Random::new(number.wrapping_mul(0xd134_2543_de82_ef95));
    let words = LEAST_WORDS + random.below(MOST_WORDS - LEAST_WORDS + 1);
    let mut text = String::new();
    for word in 0..words {
        if word > 0 {
            text.push(' ');
        }
        push_word(&mut text, random.rank());
    }
    text
}

/// Appends the word of a rank: rare words are long, as in language.
fn push_word(text: &mut String, rank: usize) {
    if let Some(common) = COMMON.get(rank) {
        text.push_str(common);
        return;
    }
    let mut rest = rank;
    loop {
        let consonant = CONSONANTS.get(rest % CONSONANTS.len());
        let vowel = VOWELS.get(rest / CONSONANTS.len() % VOWELS.len());
        text.extend(consonant.into_iter().chain(vowel).copied().map(char::from));
        rest /= CONSONANTS.len() * VOWELS.len();
        if rest == 0 {
            return;
        }
    }
}
