//! An MCP server behind an address.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;

use super::endpoint::{Address, Limits};
use crate::error::{Error, Result};

/// Bytes of an answer that are read at all, beyond what is kept of the result.
const SPARE_BYTES: usize = 4 * 1024 * 1024;
/// A server that is there takes its connections at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Prepares the connection; nothing is sent yet.
pub(super) fn transport(address: &Address, limits: &Limits) -> Result<StreamableHttpClientTransport<Client>> {
    let unfit = || Error::invalid_input(format!("{:?} is no http address of an MCP server", address.url));
    let url = Url::parse(&address.url).map_err(|_| unfit())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(unfit());
    }
    let mut builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        // A redirect would carry the token and the arguments to where nobody sent them.
        .redirect(Policy::none())
        .retry(reqwest::retry::never());
    if url.host_str().is_some_and(is_loopback) {
        builder = builder.no_proxy();
    }
    let client = builder.build();
    let client = client.map_err(|error| Error::internal("prepare the http client").with_source(error))?;
    let bytes = limits.result_bytes.saturating_mul(2).saturating_add(SPARE_BYTES);
    let mut config = StreamableHttpClientTransportConfig::with_uri(address.url.as_str())
        .max_sse_event_size(bytes)
        .max_json_response_size(bytes);
    if let Some(token) = &address.bearer {
        config = config.auth_header(token.expose());
    }
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

/// Whether no proxy could reach the host.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or(host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}
