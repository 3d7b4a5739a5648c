//! Refuses requests that a foreign web page made a browser send (DNS rebinding, cross-site requests).
//!
//! Without authentication the service trusts whoever reaches the loopback interface, and a browser reaches it
//! on behalf of any page. Such requests carry the page's own name in `Host` or `Origin`.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::problem::{Problem, ProblemKind};

/// Lets a request pass if it was addressed to this machine, and comes from a page of this machine if from any.
pub(super) async fn only_loopback_names(request: Request, next: Next) -> Response {
    match check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => Problem::new(ProblemKind::ForbiddenHost, refused).into_response(),
    }
}

fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), String> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (uri.authority(), hosts.next(), hosts.next()) {
        (Some(authority), ..) => Some(authority.clone()),
        (None, Some(host), None) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
        _ => None,
    };
    if !host.as_ref().is_some_and(is_loopback) {
        return Err("the Host header does not name this machine; use localhost or 127.0.0.1".into());
    }
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
        if !origin.as_ref().and_then(Uri::authority).is_some_and(is_loopback) {
            return Err("the Origin header names a page that is not of this machine".into());
        }
    }
    Ok(())
}

/// Whether the name can only mean this machine, whatever a name server says.
fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let named =
        address.parse::<IpAddr>().map_or(host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback());
    named && !authority.as_str().contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(host: Option<&str>, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        check(&Uri::from_static("/"), &headers).is_ok()
    }

    #[test]
    fn only_names_of_this_machine_pass() {
        for host in ["localhost", "LocalHost:8080", "127.0.0.1:1", "127.8.9.10", "[::1]:8080", "[::1]"] {
            assert!(verdict(Some(host), None), "{host}");
            assert!(verdict(Some("localhost"), Some(&format!("http://{host}"))), "origin {host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "10.0.0.1", "a@localhost", "[::2]", "0.0.0.0", ""]
        {
            assert!(!verdict(Some(host), None), "{host}");
            assert!(!verdict(Some("localhost"), Some(&format!("http://{host}"))), "origin {host}");
        }
        assert!(!verdict(None, None));
        assert!(!verdict(Some("localhost"), Some("null")));
    }
}
