//! Matrices laid out for the kernel: right-hand sides in panels, left-hand sides as strided rows.

use agentkit_core::{Error, Result};

/// Columns of a panel: two AVX-512 registers, four of AVX2.
pub(super) const PANEL: usize = 32;
/// Bytes of a cache line, which a vector load should not straddle.
const LINE: usize = 64;

/// A buffer that starts on a cache line and grows when asked to.
#[derive(Debug, Default)]
pub(super) struct Aligned<T> {
    data: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// Makes it `length` long; the content is then unspecified but initialised.
    pub(super) fn resize(&mut self, length: usize) {
        let slack = LINE / size_of::<T>().max(1);
        if self.data.len() < length + slack {
            self.data = vec![T::default(); length + slack];
            self.start = self.data.as_ptr().align_offset(LINE).min(slack);
        }
        self.length = length;
    }

    pub(super) fn as_slice(&self) -> &[T] {
        self.data.get(self.start..self.start + self.length).unwrap_or_default()
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        self.data.get_mut(self.start..self.start + self.length).unwrap_or_default()
    }
}

/// The right-hand side of a product, `depth` rows by `width` columns, cut into panels of [`PANEL`] columns.
///
/// Within a panel rows follow each other, so the kernel reads memory from front to back. The last panel is
/// filled up with zeros.
#[derive(Debug, Default)]
pub(super) struct Panels {
    data: Aligned<f32>,
    depth: usize,
    width: usize,
}

impl Panels {
    /// Lays out `width` columns of `depth` values each, given one column after the other; this is how the
    /// weights of a linear layer are stored.
    pub(super) fn from_columns(columns: &[f32], depth: usize, width: usize) -> Result<Self> {
        let mut panels = Self::default();
        panels.set_columns(Rows { data: columns, stride: depth }, depth, width)?;
        Ok(panels)
    }

    /// Lays out the first `depth` values of each of `width` rows of `columns` as columns.
    pub(super) fn set_columns(&mut self, columns: Rows<'_>, depth: usize, width: usize) -> Result<()> {
        self.reshape(depth, width);
        columns.hold(width, depth)?;
        let panels = self.data.as_mut_slice().chunks_exact_mut((PANEL * depth).max(1));
        for (panel, group) in panels.zip(columns.data.chunks(PANEL * columns.stride)) {
            let group = group.chunks(columns.stride).filter(|column| column.len() >= depth);
            for (at, column) in group.enumerate() {
                for (row, value) in panel.chunks_exact_mut(PANEL).zip(column) {
                    if let Some(place) = row.get_mut(at) {
                        *place = *value;
                    }
                }
            }
        }
        self.clear_padding();
        Ok(())
    }

    /// Lays out the first `width` values of each of `depth` rows.
    pub(super) fn set_rows(&mut self, rows: Rows<'_>, depth: usize, width: usize) -> Result<()> {
        self.reshape(depth, width);
        rows.hold(depth, width)?;
        let panels = self.data.as_mut_slice().chunks_exact_mut((PANEL * depth).max(1));
        for (number, panel) in panels.enumerate() {
            let from = number * PANEL;
            let count = PANEL.min(width - from);
            for (target, source) in panel.chunks_exact_mut(PANEL).zip(rows.data.chunks(rows.stride)) {
                let (target, padding) = target.split_at_mut(count);
                target.copy_from_slice(source.get(from..from + count).unwrap_or_default());
                padding.fill(0.0);
            }
        }
        Ok(())
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The panels one after the other, each `depth` rows of [`PANEL`] values.
    pub(super) fn as_slice(&self) -> &[f32] {
        self.data.as_slice()
    }

    fn reshape(&mut self, depth: usize, width: usize) {
        (self.depth, self.width) = (depth, width);
        self.data.resize(depth * width.next_multiple_of(PANEL));
    }

    fn clear_padding(&mut self) {
        let used = self.width % PANEL;
        let last = self.depth * (self.width - used);
        if used > 0 {
            let panel = self.data.as_mut_slice().get_mut(last..).unwrap_or_default();
            for row in panel.chunks_exact_mut(PANEL) {
                row.get_mut(used..).unwrap_or_default().fill(0.0);
            }
        }
    }
}

/// Rows that start `stride` values apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
}

impl Rows<'_> {
    /// Checks that `count` rows of `width` values lie within the data.
    pub(super) fn hold(&self, count: usize, width: usize) -> Result<()> {
        check(self.data.len(), self.stride, count, width)
    }
}

/// Rows to write to, `stride` values apart.
#[derive(Debug)]
pub(super) struct RowsMut<'a> {
    pub(super) data: &'a mut [f32],
    pub(super) stride: usize,
}

impl RowsMut<'_> {
    /// Checks that `count` rows of `width` values lie within the data.
    pub(super) fn hold(&self, count: usize, width: usize) -> Result<()> {
        check(self.data.len(), self.stride, count, width)
    }
}

fn check(length: usize, stride: usize, count: usize, width: usize) -> Result<()> {
    let needed = count.checked_sub(1).map_or(Some(0), |last| last.checked_mul(stride)?.checked_add(width));
    let fits = stride > 0 && width <= stride && needed.is_some_and(|needed| needed <= length);
    fits.then_some(()).ok_or_else(|| {
        Error::internal(format!(
            "{count} rows of {width} values, {stride} apart, are not within {length} values"
        ))
    })
}
