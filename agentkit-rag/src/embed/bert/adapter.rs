//! What was learnt on top of a model's weights, as products of two thin matrices: `LoRA` of Hu et al., 2021.

use std::collections::HashMap;

use agentkit_core::{Error, Result};
use candle_core::{DType, Device, Tensor};

/// An adapter read into memory; tensors have the names that PEFT gives them.
#[derive(Debug)]
pub(super) struct Adapter {
    tensors: HashMap<String, Tensor>,
}

impl Adapter {
    /// Reads the content of a safetensors file.
    pub(super) fn new(bytes: &[u8]) -> Result<Self> {
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)
            .map_err(|error| Error::corrupt("the adapter is not safetensors").with_source(error))?;
        Ok(Self { tensors })
    }

    /// Adds to `weights`, a row an output, what was learnt for the layer of this name; nothing, if nothing was.
    pub(super) fn add_to(&self, layer: &str, weights: &mut [f32]) -> Result<()> {
        let names = [format!("{layer}.lora_A.weight"), format!("{layer}.lora_B.weight")];
        let [Some(inner), Some(outer)] = names.map(|name| self.tensors.get(&name)) else { return Ok(()) };
        let unfit = || Error::corrupt(format!("the adapter does not fit the layer {layer}"));
        let ((rank, depth), (width, inner_rank)) = inner
            .dims2()
            .and_then(|sizes| Ok((sizes, outer.dims2()?)))
            .map_err(|error| unfit().with_source(error))?;
        if rank != inner_rank || depth == 0 || rank == 0 || width * depth != weights.len() {
            return Err(unfit());
        }
        let (inner, outer) = (values(inner)?, values(outer)?);
        for (row, factors) in weights.chunks_exact_mut(depth).zip(outer.chunks_exact(rank)) {
            for (factor, learnt) in factors.iter().zip(inner.chunks_exact(depth)) {
                row.iter_mut().zip(learnt).for_each(|(weight, learnt)| *weight += factor * learnt);
            }
        }
        Ok(())
    }

    /// The values of a tensor.
    pub(super) fn values(&self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.tensors.get(name);
        values(tensor.ok_or_else(|| Error::corrupt(format!("the adapter has no tensor {name}")))?)
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    let values = tensor.to_dtype(DType::F32).and_then(|tensor| tensor.flatten_all()?.to_vec1());
    values.map_err(|error| Error::corrupt("a tensor of the adapter cannot be read").with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(tensors: &[(&str, &[usize], &[f32])]) -> Adapter {
        let tensor = |(name, shape, values): &(&str, &[usize], &[f32])| {
            ((*name).to_owned(), Tensor::from_slice(values, *shape, &Device::Cpu).unwrap())
        };
        Adapter { tensors: tensors.iter().map(tensor).collect() }
    }

    #[test]
    fn what_was_learnt_is_the_product_of_both() {
        let adapter = adapter(&[
            ("a.lora_A.weight", &[1, 3], &[1.0, 2.0, 3.0]),
            ("a.lora_B.weight", &[2, 1], &[10.0, -1.0]),
        ]);
        let mut weights = [0.5; 6];
        adapter.add_to("a", &mut weights).unwrap();
        let sum = "[10.5, 20.5, 30.5, -0.5, -1.5, -2.5]";
        assert_eq!(format!("{weights:?}"), sum);
        adapter.add_to("b", &mut weights).unwrap();
        assert_eq!(format!("{weights:?}"), sum, "nothing was learnt for it");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let flat: &[usize] = &[3];
        for (shape, sizes) in [(&[1, 3][..], 5), (flat, 3)] {
            let adapter = adapter(&[
                ("a.lora_A.weight", shape, &[1.0, 2.0, 3.0]),
                ("a.lora_B.weight", &[2, 1], &[1.0, 1.0]),
            ]);
            let error = adapter.add_to("a", &mut vec![0.0; sizes]).unwrap_err();
            assert!(error.message().contains("layer a"), "{error}");
        }
        assert!(Adapter::new(b"no tensors").is_err());
        assert!(adapter(&[]).values("head.weight").is_err());
    }
}
