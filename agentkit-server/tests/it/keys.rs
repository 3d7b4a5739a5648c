//! Keys over HTTP: made, rotated with an overlap and revoked by the admins of a tenant, and by nobody else.

use agentkit_core::CollectionName;
use agentkit_server::identity::{ApiKey, Role};
use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::identity::{Guarded, shown};
use crate::support::{Answer, request};

impl Guarded {
    async fn make(&self, admin: &ApiKey, spec: Value) -> Answer {
        self.send(admin, request(Method::POST, "/keys", "application/json", spec.to_string())).await
    }

    async fn rotate(&self, admin: &ApiKey, id: &str, overlap: Value) -> Answer {
        let path = format!("/keys/{id}/rotate");
        self.send(admin, request(Method::POST, &path, "application/json", overlap.to_string())).await
    }

    async fn revoke(&self, admin: &ApiKey, id: &str) -> Answer {
        self.send(admin, request(Method::DELETE, &format!("/keys/{id}"), "", Body::empty())).await
    }

    /// What somebody with this key is answered.
    async fn me(&self, key: &str) -> Answer {
        self.service.send(shown(key, request(Method::GET, "/me", "", Body::empty()))).await
    }
}

fn text<'a>(answer: &'a Value, member: &str) -> &'a str {
    answer[member].as_str().unwrap()
}

#[tokio::test]
async fn a_key_is_made_rotated_with_an_overlap_and_revoked() {
    let guarded = Guarded::new();
    let admin = guarded.key("acme", Role::Admin).await;
    let spec = json!({"role": "editor", "user": "ann", "label": "wiki", "expires_in_seconds": 3600, "collections": ["news"]});
    let made = guarded.make(&admin, spec).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let first = made.json();
    assert_eq!(
        (&first["user"], &first["role"], &first["status"]),
        (&"ann".into(), &"editor".into(), &"active".into())
    );
    let me = guarded.me(text(&first, "key")).await.json();
    assert_eq!(me, json!({"tenant": "acme", "user": "ann", "role": "editor", "collections": ["news"]}));

    let second = guarded.rotate(&admin, text(&first, "id"), json!({"overlap_seconds": 600})).await;
    assert_eq!(second.status, 201, "{}", second.body);
    let second = second.json();
    assert_eq!((&second["replaces"], &second["user"]), (&first["id"], &"ann".into()));
    for key in [&first, &second] {
        assert_eq!(guarded.me(text(key, "key")).await.json(), me, "both are good for the same");
    }
    let third = guarded.rotate(&admin, text(&second, "id"), json!({"overlap_seconds": 0})).await.json();
    guarded.me(text(&second, "key")).await.problem(401, "unauthorized");
    assert_eq!(guarded.revoke(&admin, text(&third, "id")).await.status, 204);
    guarded.me(text(&third, "key")).await.problem(401, "unauthorized");
    guarded.rotate(&admin, text(&third, "id"), json!({})).await.problem(400, "invalid-input");
    assert_eq!(guarded.me(text(&first, "key")).await.status, 200, "its overlap is not over");

    let listed = guarded.get(&admin, "/keys").await;
    for key in [&first, &second, &third] {
        assert!(!listed.body.contains(text(key, "key")), "no secret is listed");
    }
    let status = |id: &str| {
        let listed = listed.json();
        let entry =
            listed["keys"].as_array().unwrap().iter().find(|entry| entry["id"] == id).unwrap().clone();
        entry["status"].as_str().unwrap().to_owned()
    };
    let statuses = [&first, &second, &third].map(|key| status(text(key, "id")));
    assert_eq!(statuses, ["active", "expired", "revoked"]);

    guarded.service.state.audit_log().flush().await;
    let trail = guarded.get(&admin, "/audit").await.body;
    let replaced = format!("{} by {}", text(&first, "id"), text(&second, "id"));
    assert!(trail.contains(&replaced) && trail.contains("DELETE /keys/{id}"), "{trail}");
    assert!(!trail.contains(text(&first, "key")));
}

#[tokio::test]
async fn keys_of_others_are_out_of_reach() {
    let guarded = Guarded::new();
    let (ann, zoe) = (guarded.key("acme", Role::Admin).await, guarded.key("zoo", Role::Admin).await);
    for id in [ann.id(), "0000000000000000", "%00", "x"] {
        let (revoked, rotated) = (guarded.revoke(&zoe, id).await, guarded.rotate(&zoe, id, json!({})).await);
        for answer in [revoked, rotated] {
            assert!(answer.status == 404 || id == "%00", "{id}: {}", answer.body);
        }
    }
    assert!(!guarded.get(&zoe, "/keys").await.body.contains(ann.id()));
    assert_eq!(guarded.me(&ann.expose()).await.status, 200);

    let news = CollectionName::new("news").unwrap();
    let limited = guarded.key_for("acme", Role::Admin, |spec| spec.collections = Some([news].into())).await;
    let more = json!({"role": "user", "collections": ["news", "secrets"]});
    guarded.make(&limited, more).await.problem(403, "forbidden");
    let made = guarded.make(&limited, json!({"role": "admin"})).await.json();
    assert_eq!(made["collections"], json!(["news"]), "never more than its maker has");
    guarded.revoke(&limited, ann.id()).await.problem(404, "not-found");
    guarded.rotate(&limited, ann.id(), json!({})).await.problem(404, "not-found");
    let seen = guarded.get(&limited, "/keys").await.json();
    assert_eq!(seen["keys"].as_array().unwrap().len(), 2, "{seen}");
}

#[tokio::test]
async fn keys_that_cannot_be_made_are_refused_and_the_list_has_pages() {
    let guarded = Guarded::new();
    let admin = guarded.key("acme", Role::Admin).await;
    for wrong in [
        json!({}),
        json!({"role": "king"}),
        json!({"role": "user", "tenant": "zoo"}),
        json!({"role": "user", "user": ""}),
        json!({"role": "user", "user": "a\nb"}),
        json!({"role": "user", "label": "x".repeat(257)}),
        json!({"role": "user", "label": "a\u{0}"}),
        json!({"role": "user", "collections": []}),
        json!({"role": "user", "expires_in_seconds": 0}),
        json!({"role": "user", "expires_in_seconds": 400_000_000}),
    ] {
        guarded.make(&admin, wrong).await.problem(400, "invalid-input");
    }
    guarded.rotate(&admin, admin.id(), json!({"overlap_seconds": -1})).await.problem(400, "invalid-input");
    guarded.get(&admin, "/keys?limit=0").await.problem(400, "invalid-input");
    for _ in 0..4 {
        assert_eq!(guarded.make(&admin, json!({"role": "user"})).await.status, 201);
        guarded.key("zoo", Role::User).await;
    }
    let (mut seen, mut path) = (Vec::new(), "/keys?limit=2".to_owned());
    loop {
        let page = guarded.get(&admin, &path).await.json();
        seen.extend(page["keys"].as_array().unwrap().iter().map(|key| text(key, "id").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/keys?limit=2&after={next}");
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted(), "{seen:?}");
}
