//! Sending requests and reading answers.

use agentkit_server::http::{AppState, Limits, router, serve};
use agentkit_server::identity::Authenticator;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::doubles::Doubles;

/// The service over doubles, called without a network.
pub(crate) struct Service {
    pub(crate) doubles: Doubles,
    pub(crate) state: AppState,
    router: Router,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self::within(Limits::default())
    }

    pub(crate) fn within(limits: Limits) -> Self {
        Self::over(Doubles::default(), Authenticator::insecure_dev(), limits)
    }

    pub(crate) fn over(doubles: Doubles, authenticator: Authenticator, limits: Limits) -> Self {
        let state = AppState::new(doubles.services(), authenticator, limits);
        let router = router(state.clone());
        Self { doubles, state, router }
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        read(self.start(request).await).await
    }

    /// Sends a request without reading the answer's body.
    pub(crate) async fn start(&self, request: Request<Body>) -> axum::response::Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, json: &str) -> Answer {
        self.send(request(Method::POST, path, "application/json", json.to_owned())).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, "", Body::empty())).await
    }
}

pub(crate) fn request(
    method: Method,
    path: &str,
    content_type: &str,
    body: impl Into<Body>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    if !content_type.is_empty() {
        request = request.header("content-type", content_type);
    }
    request.body(body.into()).unwrap()
}

pub(crate) async fn read(response: axum::response::Response) -> Answer {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 64 << 20).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The data of every event of a stream.
    pub(crate) fn events(&self) -> Vec<Value> {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data:"));
        data.map(|data| serde_json::from_str(data.trim()).unwrap()).collect()
    }

    /// Checks that this is a whole problem document of this status and kind, and gives its detail.
    pub(crate) fn problem(&self, status: u16, kind: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.body);
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:agentkit:problem:{kind}"), "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["trace_id"].as_str().unwrap().len(), 32);
        assert!(problem["instance"].as_str().unwrap().starts_with('/'), "{problem}");
        assert!(!problem["title"].as_str().unwrap().is_empty());
        let detail = problem["detail"].as_str().unwrap();
        assert!(!detail.is_empty(), "{problem}");
        detail.to_owned()
    }
}

/// The service behind a real socket.
pub(crate) struct Listening {
    pub(crate) service: Service,
    pub(crate) url: String,
    pub(crate) stop: Option<tokio::sync::oneshot::Sender<()>>,
    pub(crate) served: tokio::task::JoinHandle<agentkit_core::Result<()>>,
}

impl Listening {
    pub(crate) async fn within(limits: Limits) -> Self {
        let service = Service::within(limits);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let served = tokio::spawn(serve(listener, service.state.clone(), shutdown));
        Self { service, url, stop: Some(stop), served }
    }

    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn ask(&self, message: &str, streamed: bool) -> reqwest::Response {
        let body = serde_json::json!({"message": message, "stream": streamed});
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.post(format!("{}/chat", self.url)).json(&body).send().await.unwrap()
    }
}
