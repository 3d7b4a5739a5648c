//! A GGUF file: typed reads of its metadata, and its tensors one at a time.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use agentkit_core::{Error, Result};
use candle_core::Device;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{Content, Value};

/// An open file whose header has been read.
#[derive(Debug)]
pub(super) struct Gguf {
    name: String,
    file: BufReader<File>,
    content: Content,
}

impl Gguf {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// Not found, unavailable, or corrupt.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Error::io(format!("open {name}"), error))?;
        let mut file = BufReader::new(file);
        let content = Content::read(&mut file).map_err(|error| {
            Error::corrupt(format!("{name} is not an intact GGUF file")).with_source(error)
        })?;
        Ok(Self { name, file, content })
    }

    /// The file's path, for errors.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn value(&self, key: &str) -> Result<&Value> {
        self.content
            .metadata
            .get(key)
            .ok_or_else(|| Error::corrupt(format!("{} does not state {key}", self.name)))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.content.metadata.contains_key(key)
    }

    fn wrong(&self, key: &str) -> Error {
        Error::corrupt(format!("{} states {key} in a form that is not its own", self.name))
    }

    /// A text of the metadata.
    pub(super) fn text(&self, key: &str) -> Result<&str> {
        match self.value(key)? {
            Value::String(text) => Ok(text),
            _ => Err(self.wrong(key)),
        }
    }

    pub(super) fn text_or<'s>(&'s self, key: &str, absent: &'s str) -> Result<&'s str> {
        if self.has(key) { self.text(key) } else { Ok(absent) }
    }

    /// A number of things.
    pub(super) fn count(&self, key: &str) -> Result<usize> {
        whole(self.value(key)?).ok_or_else(|| self.wrong(key))
    }

    pub(super) fn count_or(&self, key: &str, absent: usize) -> Result<usize> {
        if self.has(key) { self.count(key) } else { Ok(absent) }
    }

    pub(super) fn number_or(&self, key: &str, absent: f32) -> Result<f32> {
        match self.content.metadata.get(key) {
            None => Ok(absent),
            Some(Value::F32(number)) => Ok(*number),
            Some(_) => Err(self.wrong(key)),
        }
    }

    pub(super) fn flag_or(&self, key: &str, absent: bool) -> Result<bool> {
        match self.content.metadata.get(key) {
            None => Ok(absent),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(key)),
        }
    }

    /// A list of texts.
    pub(super) fn texts<'s>(&'s self, key: &str) -> Result<Vec<&'s str>> {
        let text = |value: &'s Value| match value {
            Value::String(text) => Ok(text.as_str()),
            _ => Err(self.wrong(key)),
        };
        self.list(key)?.iter().map(text).collect()
    }

    /// A list of numbers of things.
    pub(super) fn counts(&self, key: &str) -> Result<Vec<usize>> {
        self.list(key)?.iter().map(|value| whole(value).ok_or_else(|| self.wrong(key))).collect()
    }

    fn list(&self, key: &str) -> Result<&[Value]> {
        match self.value(key)? {
            Value::Array(values) => Ok(values),
            _ => Err(self.wrong(key)),
        }
    }

    /// The names of all tensors.
    pub(super) fn tensors(&self) -> BTreeSet<String> {
        self.content.tensor_infos.keys().cloned().collect()
    }

    /// A tensor of the shape `dims`, in which `None` stands for any size.
    ///
    /// # Errors
    /// Corrupt, if it is missing, has another shape, or is cut off.
    pub(super) fn tensor(&mut self, name: &str, dims: &[Option<usize>]) -> Result<QTensor> {
        let file = &self.name;
        let info = self.content.tensor_infos.get(name);
        let info = info.ok_or_else(|| Error::corrupt(format!("{file} has no tensor {name}")))?;
        let found = info.shape.dims();
        let fits = |(found, wanted): (&usize, &Option<usize>)| wanted.is_none_or(|wanted| wanted == *found);
        // Bounded so that no product of a hostile file's sizes overflows.
        let bounded = found.iter().all(|size| (1..=1 << 24).contains(size));
        if found.len() != dims.len() || !bounded || !found.iter().zip(dims).all(fits) {
            return Err(Error::corrupt(format!("{name} of {file} has shape {found:?}, not {dims:?}")));
        }
        let broken = |error| Error::corrupt(format!("read {name} of {file}")).with_source(error);
        info.read(&mut self.file, self.content.tensor_data_offset, &Device::Cpu).map_err(broken)
    }
}

fn whole(value: &Value) -> Option<usize> {
    match value {
        Value::U8(n) => Some(usize::from(*n)),
        Value::U16(n) => Some(usize::from(*n)),
        Value::U32(n) => usize::try_from(*n).ok(),
        Value::U64(n) => usize::try_from(*n).ok(),
        Value::I8(n) => usize::try_from(*n).ok(),
        Value::I16(n) => usize::try_from(*n).ok(),
        Value::I32(n) => usize::try_from(*n).ok(),
        Value::I64(n) => usize::try_from(*n).ok(),
        _ => None,
    }
}
