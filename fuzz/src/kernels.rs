//! The kernels of this CPU beside their scalar twins, on numbers of any bits.

use agentkit_rag::fuzz_support as door;

/// The input as numbers of each kind, cut at the place its first byte says.
pub fn kernels(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else { return };
    let singles: Vec<f32> = data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let (a, b) = singles.split_at(usize::from(*cut).min(singles.len()));
    assert_eq!(door::products(a, b), Ok(()));
    assert_eq!(door::products(b, b), Ok(()));
    let (codes, components) = data.split_at((usize::from(*cut) * 64).min(data.len()));
    let components: Vec<i16> =
        components.as_chunks().0.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect();
    assert_eq!(door::code_products(&components, codes), Ok(()));
    intervals(&singles);
    assert_eq!(panels(usize::from(*cut), data), Ok(()));
}

/// The products of a panel of quantised weights with rows of bytes.
fn panels(rows: usize, data: &[u8]) -> Result<(), String> {
    let Some((step, data)) = data.split_first_chunk() else { return Ok(()) };
    // No quantisation makes other steps.
    let step = f32::from_le_bytes(*step);
    let step = if (0.0..=1e6).contains(&step) { step } else { 0.5 };
    agentkit_rag::chat::fuzz_support::panel_products(rows % 9, step, data)
}

/// The two halves of the numbers, as unit vectors: their product lies where the codes say.
fn intervals(numbers: &[f32]) {
    let (query, row) = numbers.split_at(numbers.len() / 2);
    let row = row.get(..query.len()).unwrap_or_default();
    let (Some(query), Some(row)) = (door::unit(query.to_vec()), door::unit(row.to_vec())) else { return };
    assert!(door::interval_holds(&query, &row), "{query:?} {row:?}");
}
