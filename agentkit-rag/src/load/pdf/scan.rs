//! Measuring what the compressed streams of a PDF unpack to, before a reader unpacks them into memory.
//!
//! A stream is found by its keyword, whatever the file's tables say, because a damaged file is read that way as well. It
//! is unpacked and thrown away piece by piece; a stream compressed several times over is followed inwards. Streams
//! that are encrypted, or packed in another way than by Deflate, cannot be told from others and are not measured.

use std::io::{Cursor, Read};

use agentkit_core::Result;
use flate2::read::ZlibDecoder;

use super::super::limits::Budget;

/// What a stream's data follows.
const KEYWORD: &[u8] = b"stream";
/// How far before a stream its description is looked for.
const DESCRIPTION_BYTES: usize = 1024;
/// Streams compressed over and over are followed so deep.
const MAX_LAYERS: usize = 4;
/// Bytes unpacked at a time.
const PIECE: usize = 64 << 10;

/// Refuses a file with a stream that unpacks to more than is allowed, or whose streams other than images do together.
pub(super) fn check(pdf: &[u8], budget: &Budget) -> Result<()> {
    let limit = budget.limits.unpacked_bytes;
    let mut sum = 0;
    let mut at = 0;
    while let Some(data) = next_stream(pdf, &mut at) {
        let unpacked = measure(data, limit, budget)?;
        if !is_image(pdf, at) {
            sum += unpacked;
        }
        if unpacked.max(sum) > limit {
            return Err(
                budget.exceeded(format_args!("its streams unpack to more than the limit of {limit} bytes"))
            );
        }
    }
    Ok(())
}

/// The data after the next keyword from `at` on, where `at` is set to, up to the end of the file.
fn next_stream<'p>(pdf: &'p [u8], at: &mut usize) -> Option<&'p [u8]> {
    let rest = pdf.get(*at..)?;
    let found = rest.windows(KEYWORD.len()).position(|bytes| bytes == KEYWORD)?;
    *at += found + KEYWORD.len();
    let data = pdf.get(*at..)?;
    let line_end = data.iter().take(2).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    data.get(line_end..)
}

/// Whether the stream at `at` says that it is an image; those are not unpacked to read text.
fn is_image(pdf: &[u8], at: usize) -> bool {
    let description = pdf.get(at.saturating_sub(DESCRIPTION_BYTES)..at).unwrap_or_default();
    let begin = description.windows(4).rposition(|bytes| bytes == b" obj").unwrap_or(0);
    let description = description.get(begin..).unwrap_or_default();
    let says = |word: &[u8]| description.windows(word.len()).any(|bytes| bytes == word);
    says(b"/Image") && !says(b"/ObjStm")
}

/// The most bytes that any layer of `data` unpacks to, up to a little over `limit`.
fn measure(data: &[u8], limit: u64, budget: &Budget) -> Result<u64> {
    let mut most = 0;
    for layers in 1..=MAX_LAYERS {
        let mut reader: Box<dyn Read + '_> = Box::new(Cursor::new(data));
        if layers == 1 && !is_packed(data) {
            break;
        }
        for _ in 0..layers {
            reader = Box::new(ZlibDecoder::new(reader));
        }
        let (unpacked, start) = drain(reader.as_mut(), limit, budget)?;
        most = most.max(unpacked);
        if unpacked > limit || !is_packed(&start) {
            break;
        }
    }
    Ok(most)
}

/// Reads to the end, to damage, or a little over `limit`; how much it was and how it began.
fn drain(reader: &mut dyn Read, limit: u64, budget: &Budget) -> Result<(u64, Vec<u8>)> {
    let mut piece = vec![0; PIECE];
    let mut start = Vec::new();
    let mut sum = 0;
    while sum <= limit {
        budget.check_time()?;
        match reader.read(&mut piece) {
            Ok(read) if read > 0 => {
                if start.len() < 2 {
                    start.extend(piece.iter().take(read.min(2)));
                }
                sum += read as u64;
            }
            _ => break,
        }
    }
    Ok((sum, start))
}

/// Whether `data` begins as Deflate data in the zlib form does (RFC 1950).
fn is_packed(data: &[u8]) -> bool {
    match data {
        [method, flags, ..] => {
            method & 0x0F == 8 && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use agentkit_core::{DocumentId, ErrorKind};
    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::super::super::{LoadLimits, RawFile};
    use super::*;

    fn packed(data: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn pdf(streams: &[(&str, &[u8])]) -> Vec<u8> {
        let mut pdf = b"%PDF-1.7\n".to_vec();
        for (description, data) in streams {
            pdf.extend_from_slice(format!("1 0 obj\n<<{description}>>\nstream\r\n").as_bytes());
            pdf.extend_from_slice(data);
            pdf.extend_from_slice(b"\nendstream\nendobj\n");
        }
        pdf
    }

    fn check_with(pdf: &[u8], limit: u64) -> Result<()> {
        let limits = LoadLimits { unpacked_bytes: limit, ..LoadLimits::default() };
        check(pdf, &Budget::start(&RawFile::new(DocumentId::new("a.pdf").unwrap(), b"").with_limits(limits)))
    }

    #[test]
    fn streams_are_measured_alone_together_and_in_layers() {
        let small = packed(&vec![0; 60_000]);
        let large = packed(&vec![0; 200_000]);
        let nested = packed(&packed(&large));
        let (text, image) = ("/Filter /FlateDecode", "/Subtype /Image /Filter /FlateDecode");
        for (streams, fits) in [
            (&[(text, &small[..])][..], true),
            (&[(text, &small), (text, &small)], false),
            (&[(text, &small), (image, &small)], true),
            (&[(image, &large)], false),
            (&[("/Subtype /Image /Type /ObjStm", &small), (text, &small)], false),
            (&[(text, &nested)], false),
            (&[(text, b"BT (stream) Tj ET")], true),
            (&[(text, &small[..10])], true),
        ] {
            let checked = check_with(&pdf(streams), 100_000);
            assert_eq!(checked.is_ok(), fits);
            if let Err(error) = checked {
                assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
                assert!(error.message().contains("a.pdf") && error.message().contains("100000"), "{error}");
            }
        }
    }
}
