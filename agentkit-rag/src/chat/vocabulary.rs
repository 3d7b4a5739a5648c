//! The tokens of a model: text to ids and ids to bytes, by what the model's file says.

use std::ops::RangeInclusive;

use agentkit_core::{Error, ErrorKind, Result};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::Replace;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use super::gguf::Gguf;

/// Put into text that is quoted, so that it does not read as a control token; no text has it, as it is no character.
const BREAK: char = '\u{fdd0}';
/// What the file calls tokens that steer the model, and such as somebody added.
const CONTROL: usize = 3;
const ADDED: usize = 4;
/// Tokens that end an answer, beside the one the file names.
const ENDS: [&str; 5] = ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "</s>"];
/// How Llama 3 cuts text into words.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A vocabulary of byte-level byte pair encoding.
#[derive(Debug)]
pub(super) struct Vocabulary {
    tokenizer: Tokenizer,
    /// What each token says; nothing for one that steers.
    bytes: Vec<Box<[u8]>>,
    /// Tokens that steer, or that markup is made of.
    steering: Vec<String>,
    /// The ids of the tokens that steer.
    control: Vec<u32>,
    ends: Vec<u32>,
    /// What every prompt begins with.
    start: Option<u32>,
    longest: usize,
}

impl Vocabulary {
    /// Reads the vocabulary of a file.
    ///
    /// # Errors
    /// Unsupported, if it is of another kind; corrupt.
    pub(super) fn read(file: &Gguf) -> Result<Self> {
        let kind = file.text("tokenizer.ggml.model")?;
        if kind != "gpt2" {
            let message =
                format!("{} has a vocabulary of kind {kind:?}; only byte-level pairs are read", file.name());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let tokens = file.texts("tokenizer.ggml.tokens")?;
        let kinds = file.counts("tokenizer.ggml.token_type")?;
        if tokens.is_empty() || kinds.len() != tokens.len() {
            return Err(Error::corrupt(format!("{} does not say what each of its tokens is", file.name())));
        }
        let of_kind = |wanted: RangeInclusive<usize>| {
            let ids = (0_u32..).zip(&tokens).zip(&kinds);
            ids.filter(move |(_, kind)| wanted.contains(kind)).map(|(token, _)| token)
        };
        let control: Vec<u32> = of_kind(CONTROL..=CONTROL).map(|(id, _)| id).collect();
        let steers = |text: &&str| text.chars().count() > 1;
        let marks = of_kind(ADDED..=ADDED).map(|(_, text)| *text).filter(|text| text.starts_with('<'));
        let steering = of_kind(CONTROL..=CONTROL).map(|(_, text)| *text).chain(marks).filter(steers);
        let steering: Vec<String> = steering.map(str::to_owned).collect();
        if steering.iter().any(|token| token.contains(BREAK)) {
            let message = format!("{} has a control token that no text can be kept from", file.name());
            return Err(Error::corrupt(message));
        }
        let bytes: Vec<Box<[u8]>> = tokens.iter().zip(&kinds).map(|(text, kind)| said(text, *kind)).collect();
        Ok(Self {
            tokenizer: tokenizer(file, &tokens, &kinds)?,
            steering,
            ends: ends(file, &tokens)?,
            start: start(file, tokens.len())?,
            longest: tokens.iter().map(|text| text.len()).max().unwrap_or(1),
            control,
            bytes,
        })
    }

    /// How many tokens there are.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the longest token; no token covers more text.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// What `token` says; nothing if it steers.
    pub(super) fn bytes(&self, token: u32) -> &[u8] {
        usize::try_from(token).ok().and_then(|token| self.bytes.get(token)).map_or(&[], |bytes| bytes)
    }

    /// Whether an answer is over at `token`: it ends a turn, or steers in a way that no answer does.
    pub(super) fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token) || self.control.contains(&token)
    }

    /// `text` such that no control token is read in it.
    pub(super) fn quoted(&self, text: &str) -> String {
        let mut text = text.replace(BREAK, "\u{fffd}");
        for token in &self.steering {
            // More than once, because tokens may overlap.
            while text.contains(token.as_str()) {
                let mut letters = token.chars();
                let first = letters.next().map(String::from).unwrap_or_default();
                text = text.replace(token.as_str(), &format!("{first}{BREAK}{}", letters.as_str()));
            }
        }
        text
    }

    /// The tokens of a rendered conversation.
    ///
    /// # Errors
    /// Internal.
    pub(super) fn encode(&self, prompt: &str) -> Result<Vec<u32>> {
        let failed = |error| Error::internal("cut the prompt into tokens").with_source(error);
        let found = self.tokenizer.encode_fast(prompt, false).map_err(failed)?;
        let start = self.start.filter(|start| found.get_ids().first() != Some(start));
        Ok(start.into_iter().chain(found.get_ids().iter().copied()).collect())
    }
}

/// What a token adds to an answer.
fn said(text: &str, kind: usize) -> Box<[u8]> {
    match kind {
        CONTROL => Box::default(),
        ADDED => text.as_bytes().into(),
        _ => match text.chars().map(byte).collect::<Option<Vec<u8>>>() {
            Some(bytes) => bytes.into(),
            None => text.as_bytes().into(),
        },
    }
}

/// The byte that a letter of the vocabulary stands for: printable ones for themselves, the others in order from
/// U+0100 on (Radford et al. 2019).
fn byte(letter: char) -> Option<u8> {
    let code = u32::from(letter);
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match u8::try_from(code) {
        Ok(byte) => Some(byte).filter(printable),
        Err(_) => (0..=u8::MAX).filter(|byte| !printable(byte)).nth(usize::try_from(code - 0x100).ok()?),
    }
}

fn tokenizer(file: &Gguf, tokens: &[&str], kinds: &[usize]) -> Result<Tokenizer> {
    let corrupt = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::corrupt(format!("{} has a vocabulary that does not fit together", file.name()))
            .with_source(error)
    };
    let vocab: Vocab = tokens.iter().zip(0..).map(|(text, id)| ((*text).to_owned(), id)).collect();
    let pair = |merge: &str| {
        let parts = merge.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
        parts.ok_or_else(|| Error::corrupt(format!("{} has a merge of no two parts: {merge:?}", file.name())))
    };
    let merges = file.texts("tokenizer.ggml.merges")?.into_iter().map(pair).collect::<Result<Vec<_>>>()?;
    let words = words(file)?;
    let model = BPE::builder().vocab_and_merges(vocab, merges).ignore_merges(words.whole).build();
    let mut tokenizer = Tokenizer::new(model.map_err(corrupt)?);
    tokenizer
        .with_normalizer(Some(Replace::new(String::from(BREAK), "").map_err(corrupt)?))
        .map_err(corrupt)?;
    tokenizer.with_pre_tokenizer(Some(Sequence::new(words.steps)));
    let added = tokens.iter().zip(kinds).filter(|(_, kind)| matches!(**kind, CONTROL | ADDED));
    // Looked for before normalisation, so that a broken one is not found.
    let added = added.map(|(text, kind)| AddedToken::from(*text, *kind == CONTROL).normalized(false));
    tokenizer.add_tokens(added).map_err(corrupt)?;
    Ok(tokenizer)
}

/// How text is cut before pairs are merged.
struct Words {
    steps: Vec<PreTokenizerWrapper>,
    /// A word that is a token is taken whole, whatever the merges say.
    whole: bool,
}

fn words(file: &Gguf) -> Result<Words> {
    let bytes = |regex| PreTokenizerWrapper::from(ByteLevel::new(false, false, regex));
    match file.text_or("tokenizer.ggml.pre", "gpt-2")? {
        "gpt-2" | "default" => Ok(Words { steps: vec![bytes(true)], whole: false }),
        "smollm" | "refact" | "command-r" => {
            Ok(Words { steps: vec![Digits::new(true).into(), bytes(true)], whole: false })
        }
        "llama-bpe" | "llama3" | "llama-v3" => {
            let pattern = SplitPattern::Regex(LLAMA3.into());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                .map_err(|error| Error::internal("build the pattern of words").with_source(error))?;
            Ok(Words { steps: vec![split.into(), bytes(false)], whole: true })
        }
        other => {
            let message =
                format!("{} cuts text into words in a way that is not known: {other:?}", file.name());
            Err(Error::new(ErrorKind::Unsupported, message))
        }
    }
}

fn id(file: &Gguf, key: &str, tokens: usize) -> Result<Option<u32>> {
    if !file.has(key) {
        return Ok(None);
    }
    let id = file.count(key)?;
    let fits = Some(id).filter(|id| *id < tokens).and_then(|id| u32::try_from(id).ok());
    fits.map(Some)
        .ok_or_else(|| Error::corrupt(format!("{} names token {id} as {key}, which it has not", file.name())))
}

fn start(file: &Gguf, tokens: usize) -> Result<Option<u32>> {
    let start = id(file, "tokenizer.ggml.bos_token_id", tokens)?;
    Ok(start.filter(|_| file.flag_or("tokenizer.ggml.add_bos_token", false).unwrap_or(false)))
}

fn ends(file: &Gguf, tokens: &[&str]) -> Result<Vec<u32>> {
    let mut ends = Vec::new();
    for key in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"] {
        ends.extend(id(file, key, tokens.len())?);
    }
    ends.extend(tokens.iter().zip(0_u32..).filter(|(text, _)| ENDS.contains(text)).map(|(_, id)| id));
    let mut seen = std::collections::BTreeSet::new();
    ends.retain(|end| seen.insert(*end));
    if ends.is_empty() {
        return Err(Error::corrupt(format!("{} does not say which token ends an answer", file.name())));
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_letter() {
        let letters = (0..0x144).filter_map(char::from_u32);
        let mut bytes: Vec<u8> = letters.filter_map(byte).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(
            (byte('Ġ'), byte('Ċ'), byte('a'), byte('ÿ')),
            (Some(b' '), Some(b'\n'), Some(b'a'), Some(0xff))
        );
        assert_eq!((byte(' '), byte('\u{2028}')), (None, None));
    }
}
