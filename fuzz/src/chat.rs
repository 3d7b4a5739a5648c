//! The file of a small chat model of which bytes are changed at will.

use std::io::Cursor;
use std::sync::LazyLock;

use agentkit_core::{ChatRequest, ErrorKind, Message, RunContext, complete};
use agentkit_rag::chat::{LocalChat, LocalOptions};
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};

use crate::run;

const WIDTH: usize = 32;
/// Texts of the vocabulary; the last two steer.
const TOKENS: [&str; 7] = ["h", "i", "hi", "Ġ", "Ċ", "<|im_start|>", "<|im_end|>"];
const TEMPLATE: &str =
    "{% for message in messages %}{{ '<|im_start|>' + message.content + '<|im_end|>' }}{% endfor %}";

/// A sound model of one layer.
static MODEL: LazyLock<Vec<u8>> = LazyLock::new(|| model().expect("a small model"));

fn model() -> candle_core::Result<Vec<u8>> {
    let number = |number: u32| Value::U32(number);
    let texts =
        |texts: &[&str]| Value::Array(texts.iter().map(|text| Value::String((*text).into())).collect());
    let width = u32::try_from(WIDTH).unwrap_or_default();
    let metadata = [
        ("general.architecture", Value::String("llama".into())),
        ("llama.block_count", number(1)),
        ("llama.embedding_length", number(width)),
        ("llama.feed_forward_length", number(width)),
        ("llama.attention.head_count", number(2)),
        ("llama.attention.head_count_kv", number(1)),
        ("llama.context_length", number(16)),
        ("tokenizer.ggml.model", Value::String("gpt2".into())),
        ("tokenizer.ggml.tokens", texts(&TOKENS)),
        ("tokenizer.ggml.token_type", Value::Array([1, 1, 1, 1, 1, 3, 3].map(Value::I32).to_vec())),
        ("tokenizer.ggml.merges", texts(&["h i"])),
        ("tokenizer.ggml.eos_token_id", number(6)),
        ("tokenizer.chat_template", Value::String(TEMPLATE.into())),
    ];
    let tensors = tensors()?;
    let mut file = Cursor::new(Vec::new());
    gguf_file::write(
        &mut file,
        &metadata.each_ref().map(|(key, value)| (*key, value)),
        &tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect::<Vec<_>>(),
    )?;
    Ok(file.into_inner())
}

fn tensors() -> candle_core::Result<Vec<(String, QTensor)>> {
    let layer = [
        ("attn_q", WIDTH, GgmlDType::Q4_1),
        ("attn_k", WIDTH / 2, GgmlDType::Q4_1),
        ("attn_v", WIDTH / 2, GgmlDType::Q4_1),
        ("attn_output", WIDTH, GgmlDType::Q4_1),
        ("ffn_gate", WIDTH, GgmlDType::Q4_0),
        ("ffn_up", WIDTH, GgmlDType::Q4_0),
        ("ffn_down", WIDTH, GgmlDType::Q4_0),
    ];
    let layer = layer.map(|(part, rows, kind)| (format!("blk.0.{part}"), vec![rows, WIDTH], kind));
    let norms = ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"];
    let norms = norms.map(|name| (name.to_owned(), vec![WIDTH], GgmlDType::F32));
    let embedding = ("token_embd".to_owned(), vec![TOKENS.len(), WIDTH], GgmlDType::Q8_0);
    let all = layer.into_iter().chain(norms).chain([embedding]);
    all.map(|(name, shape, kind)| Ok((format!("{name}.weight"), tensor(&shape, kind)?))).collect()
}

fn tensor(shape: &[usize], kind: GgmlDType) -> candle_core::Result<QTensor> {
    let numbers = Tensor::arange(0_u32, u32::try_from(shape.iter().product::<usize>())?, &Device::Cpu)?;
    let waves = (numbers.to_dtype(DType::F32)? * 0.7)?.sin()?;
    QTensor::quantize(&waves.reshape(shape)?, kind)
}

/// A first byte of `w` gives the whole file; else each four bytes change it: what to do, where (two bytes), with what.
pub fn gguf(data: &[u8]) {
    let Some((kind, edits)) = data.split_first() else { return };
    let mut file = if *kind == b'w' { edits.to_vec() } else { MODEL.clone() };
    if *kind != b'w' {
        edits.as_chunks().0.iter().take(8).for_each(|edit| change(&mut file, *edit));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, file).expect("room for a file");
    let outcome = run(async {
        let model = LocalChat::load_with(&path, LocalOptions::default().max_tokens(4)).await?;
        complete(&model, ChatRequest::new(vec![Message::user("hi h")]), &RunContext::new()).await
    });
    match outcome {
        Ok(answer) => assert!(answer.usage.output_tokens <= 4, "{answer:?}"),
        Err(error) => assert_ne!(error.kind(), ErrorKind::Internal, "{}", error.chain()),
    }
}

fn change(file: &mut Vec<u8>, [what, high, low, with]: [u8; 4]) {
    let at = (usize::from(high) << 8 | usize::from(low)) % file.len().max(1);
    match what % 4 {
        0 => file.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= with.max(1)),
        1 => file.iter_mut().skip(at).take(8).for_each(|byte| *byte = with),
        2 => file.truncate(at),
        _ => drop(file.splice(at..at, std::iter::repeat_n(with, 4))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_without_changes_answers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, &*MODEL).unwrap();
        let answer = run(async {
            let model = LocalChat::load_with(&path, LocalOptions::default().max_tokens(4)).await?;
            complete(&model, ChatRequest::new(vec![Message::user("hi h")]), &RunContext::new()).await
        });
        assert!(answer.unwrap().usage.input_tokens > 2);
    }
}
