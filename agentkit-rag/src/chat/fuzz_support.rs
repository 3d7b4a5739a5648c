//! A door for the fuzz targets: the kernels of the chat model beside their scalar twins.
//!
//! No part of the public interface; it may change at any time.

pub use super::llama::panel_products;
