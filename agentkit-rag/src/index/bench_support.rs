//! A door for the benchmark of the dense leg: vectors and graph without an index around them.
//!
//! No part of the public interface; it may change at any time.

use std::num::NonZeroUsize;

use agentkit_core::{Error, Result, RunContext};

use super::dense::{self, Dense, Planner};
use super::filter::Bitmap;
use super::graph::{Batched, Builder, Effort, Graph, HnswRs};
use super::kernel;
use super::vectors::Vectors;
use super::vectors::codes::Query;

/// Vectors in memory, with a graph once it is built.
#[derive(Debug)]
pub struct DenseBench {
    vectors: Vectors,
    graph: Option<Graph>,
    all: Bitmap,
}

impl DenseBench {
    /// Takes row-major unit vectors.
    #[must_use]
    pub fn new(rows: &[f32], dimension: usize) -> Self {
        let mut vectors = Vectors::new(dimension);
        rows.chunks_exact(dimension).for_each(|row| vectors.push(row));
        let mut all = Bitmap::empty(u32::try_from(vectors.len()).unwrap_or(u32::MAX));
        (0..u32::try_from(vectors.len()).unwrap_or(u32::MAX)).for_each(|slot| all.insert(slot));
        Self { vectors, graph: None, all }
    }

    /// The name of the instructions in use.
    #[must_use]
    pub fn kernel() -> &'static str {
        kernel::name()
    }

    /// Builds the graph as an index does, on so many threads.
    ///
    /// # Errors
    /// As building fails.
    pub fn build(&mut self, threads: NonZeroUsize) -> Result<()> {
        self.build_with(&Batched::on_threads(threads))
    }

    /// Builds the graph by `hnsw_rs`.
    ///
    /// # Errors
    /// As building fails.
    pub fn build_by_hnsw_rs(&mut self) -> Result<()> {
        self.build_with(&HnswRs)
    }

    fn build_with(&mut self, builder: &dyn Builder) -> Result<()> {
        self.graph = Some(Graph::build_with(builder, &self.vectors, &RunContext::new())?);
        Ok(())
    }

    /// Measures the effort that searches through the graph take, as an index does after building it: how many times
    /// the usual, or nothing if scans are better.
    ///
    /// # Errors
    /// Internal, if there is no graph.
    pub fn calibrate(&mut self) -> Result<Option<f64>> {
        let graph = self.graph.take().ok_or_else(|| Error::internal("the graph was not built"))?;
        let graph = dense::calibrated(graph, &self.vectors, &RunContext::new())?;
        let effort = graph.effort().map(Effort::factor);
        self.graph = Some(graph);
        Ok(effort)
    }

    /// The nearest `limit` through the graph with the given breadth, best first, and the distances it took.
    ///
    /// # Errors
    /// Internal, if there is no graph.
    pub fn search(&self, query: &[f32], breadth: usize, limit: usize) -> Result<(Vec<u32>, u64)> {
        let graph = self.graph.as_ref().ok_or_else(|| Error::internal("the graph was not built"))?;
        self.run(query, limit, Some(graph), &Planner::always(breadth))
    }

    /// As an index would search, given that it has a graph.
    ///
    /// # Errors
    /// Internal, if there is no graph.
    pub fn planned(&self, query: &[f32], limit: usize) -> Result<(Vec<u32>, u64)> {
        let graph = self.graph.as_ref().ok_or_else(|| Error::internal("the graph was not built"))?;
        let (graph, planner) = dense::planned(Some(graph));
        self.run(query, limit, graph, &planner)
    }

    /// The nearest `limit` exactly, best first, and the distances it took.
    ///
    /// # Errors
    /// None in practice: nothing stops it.
    pub fn scan(&self, query: &[f32], limit: usize) -> Result<(Vec<u32>, u64)> {
        self.run(query, limit, None, &Planner::DEFAULT)
    }

    fn run(
        &self,
        query: &[f32],
        limit: usize,
        graph: Option<&Graph>,
        planner: &Planner,
    ) -> Result<(Vec<u32>, u64)> {
        let (query, ctx) = (Query::new(query), RunContext::new());
        let dense = Dense { vectors: &self.vectors, graph, query: &query, limit, hidden: None, ctx: &ctx };
        let mut outcome = planner.search(&dense, &self.all)?;
        outcome.scored.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let slots = outcome.scored.into_iter().take(limit).map(|(slot, _)| slot);
        Ok((slots.collect(), outcome.evaluations))
    }
}
