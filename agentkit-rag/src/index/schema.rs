//! What is stored in Tantivy: one record per chunk and one per document.

use agentkit_core::{ChunkId, DocumentId, Error, Locator, Metadata, Passage, Result, Span};
use serde::{Deserialize, Serialize};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions, Value,
};
use tantivy::{TantivyDocument, Term};

use super::analysis::{Analysis, Language, languages_of};
use super::filter;
use crate::source::SourceKind;

/// The fields of the schema.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    /// Id of the document a chunk belongs to; only in chunk records.
    pub(super) chunk_of: Field,
    /// Id of a document; only in document records.
    pub(super) document: Field,
    /// Where the chunk's vector is; only in chunk records.
    pub(super) slot: Field,
    /// First 64 bits of the chunk id, which order chunks of equal score.
    pub(super) key: Field,
    /// The chunk's words.
    pub(super) text: Field,
    /// The words of its title and headings.
    pub(super) context: Field,
    /// Metadata as terms, see [`filter`].
    pub(super) metadata: Field,
    /// The record as JSON.
    pub(super) stored: Field,
    /// The chunk's language; only in chunk records, from format 2 on.
    pub(super) language: Option<Field>,
}

/// The schema of text indexes that are made with this analysis.
pub(super) fn schema(analysis: Analysis) -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(analysis.name())
        .set_index_option(IndexRecordOption::WithFreqsAndPositions);
    let words = TextOptions::default().set_indexing_options(indexing);
    let exact = || {
        let indexing = TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::Basic);
        TextOptions::default().set_indexing_options(indexing)
    };
    let fields = Fields {
        chunk_of: schema.add_text_field("chunk_of", exact()),
        document: schema.add_text_field("document", exact()),
        slot: schema.add_u64_field("slot", FAST),
        key: schema.add_u64_field("key", FAST | INDEXED),
        text: schema.add_text_field("text", words.clone()),
        context: schema.add_text_field("context", words),
        metadata: schema.add_text_field("metadata", exact()),
        stored: schema.add_bytes_field("stored", STORED),
        language: match analysis {
            Analysis::EnglishOnly => None,
            Analysis::Multilingual => Some(schema.add_text_field("language", exact())),
        },
    };
    (schema.build(), fields)
}

/// A chunk as it is stored beside its postings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ChunkRecord {
    pub(super) id: ChunkId,
    pub(super) document: DocumentId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    pub(super) text: String,
    pub(super) context: String,
    pub(super) span: Span,
    pub(super) locator: Locator,
    /// A larger span around it, to be shown in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<Span>,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub(super) metadata: Metadata,
    /// Hash of what was embedded.
    pub(super) content: String,
    /// Code of the language its words are treated in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) language: Option<String>,
}

/// A document as it is stored: everything but the text of its chunks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct DocumentRecord {
    pub(super) id: DocumentId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) uri: Option<String>,
    pub(super) kind: SourceKind,
    pub(super) bytes: u64,
    pub(super) chunks: u64,
    /// Hash of the source text.
    pub(super) source_hash: String,
    /// Hash of everything that went in; equal fingerprints make an upsert a no-op.
    pub(super) fingerprint: String,
    /// The source text between the chunks, by offset.
    pub(super) gaps: Vec<(usize, String)>,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub(super) metadata: Metadata,
}

impl ChunkRecord {
    pub(super) fn into_passage(self) -> Passage {
        Passage {
            chunk_id: self.id,
            document_id: self.document,
            title: self.title,
            text: self.text,
            span: self.span,
            locator: self.locator,
        }
    }

    /// The record as Tantivy takes it.
    pub(super) fn to_tantivy(&self, fields: &Fields, slot: u32) -> Result<TantivyDocument> {
        let mut document = TantivyDocument::default();
        document.add_text(fields.chunk_of, self.document.as_str());
        document.add_u64(fields.slot, slot.into());
        document.add_u64(fields.key, order_key(&self.id));
        self.add_words(&mut document, fields);
        for term in filter::terms(&self.metadata) {
            document.add_text(fields.metadata, term);
        }
        document.add_bytes(fields.stored, &encode(self)?);
        Ok(document)
    }

    fn add_words(&self, document: &mut TantivyDocument, fields: &Fields) {
        let code = self.language.as_deref();
        let language = code.and_then(Language::by_code).unwrap_or(Language::ENGLISH);
        let analysis = fields.analysis();
        document.add_text(fields.text, analysis.marked(&self.text, language));
        document.add_text(fields.context, analysis.marked(&self.context, language));
        if let Some(field) = fields.language {
            document.add_text(field, language.code());
        }
    }
}

impl DocumentRecord {
    /// The record as Tantivy takes it.
    pub(super) fn to_tantivy(&self, fields: &Fields) -> Result<TantivyDocument> {
        let mut document = TantivyDocument::default();
        document.add_text(fields.document, self.id.as_str());
        document.add_bytes(fields.stored, &encode(self)?);
        Ok(document)
    }
}

impl Fields {
    /// How words are treated.
    pub(super) fn analysis(&self) -> Analysis {
        if self.language.is_some() { Analysis::Multilingual } else { Analysis::EnglishOnly }
    }

    /// Matches all records of a document.
    pub(super) fn records_of(&self, id: &DocumentId) -> [Term; 2] {
        [self.chunks_term(id), self.document_term(id)]
    }

    /// Matches the chunk records of a document.
    pub(super) fn chunks_term(&self, id: &DocumentId) -> Term {
        Term::from_field_text(self.chunk_of, id.as_str())
    }

    /// Matches the document record of a document.
    pub(super) fn document_term(&self, id: &DocumentId) -> Term {
        Term::from_field_text(self.document, id.as_str())
    }

    /// The record in a stored Tantivy document.
    pub(super) fn decode<R: for<'de> Deserialize<'de>>(&self, document: &TantivyDocument) -> Result<R> {
        let bytes = document.get_first(self.stored).and_then(|value| value.as_bytes()).unwrap_or_default();
        serde_json::from_slice(bytes).map_err(|error| {
            Error::corrupt("a stored record of the text index is damaged").with_source(error)
        })
    }
}

/// Recognises the languages of a document's chunks.
pub(super) fn recognise<'r>(chunks: impl Iterator<Item = &'r mut ChunkRecord>) {
    let chunks: Vec<&mut ChunkRecord> = chunks.collect();
    let languages = languages_of(chunks.iter().map(|chunk| chunk.text.as_str()));
    for (chunk, language) in chunks.into_iter().zip(languages) {
        chunk.language = Some(language.code().to_owned());
    }
}

fn encode(record: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|error| Error::internal("serialise a record").with_source(error))
}

/// The chunk id of the `occurrence`-th chunk of a document with this content: 128 bits of BLAKE3, hexadecimal.
pub(super) fn chunk_id(document: &DocumentId, content: &str, occurrence: usize) -> Result<ChunkId> {
    let hash =
        blake3::hash(format!("{}\0{document}\0{content}\0{occurrence}", document.as_str().len()).as_bytes());
    ChunkId::new(hash.to_hex().chars().take(32).collect::<String>())
}

/// Orders chunks as their ids do.
fn order_key(id: &ChunkId) -> u64 {
    id.as_str().get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}
