//! Pages of other hosts that may use the server, and those that may not.

use axum::body::Body;
use axum::http::{Method, Request};

use super::scene::{LIGHT, Scene, post, sample};
use crate::Hosts;

const FRIEND: &str = "https://voice.example";
const STRANGER: &str = "https://evil.example";

fn scene(origins: &[&str], hosts: Hosts) -> Scene {
    let scene = Scene::with(|config| {
        config.api_key = Some("sesame".to_owned());
        config.hosts = hosts;
        config.origins = origins.iter().map(|o| o.parse().unwrap()).collect();
    });
    scene.gate.allow(usize::MAX);
    scene
}

/// What a browser asks before a page of this origin may send a key.
fn question(origin: &str) -> Request<Body> {
    Request::builder()
        .method(Method::OPTIONS)
        .uri("/v1/audio/transcriptions")
        .header("host", "localhost:8000")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,x-stainless-os",
        )
        .body(Body::empty())
        .unwrap()
}

fn asked(origin: &str, key: &str) -> Request<Body> {
    let mut request = post(&sample("light.wav"), &[]);
    for (name, value) in [
        ("host", "localhost:8000"),
        ("origin", origin),
        ("authorization", key),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn a_page_that_may_use_the_server_is_told_so_and_reads_answers_and_errors() {
    for (origins, hosts) in [
        (&[FRIEND][..], Hosts::default().decided(true)),
        (&["https://other.example", FRIEND][..], Hosts::Any),
        (&["*"][..], Hosts::default().decided(true)),
    ] {
        let scene = scene(origins, hosts);
        let told = if origins == ["*"] { "*" } else { FRIEND };
        let answer = scene.send(question(FRIEND)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.headers["access-control-allow-origin"], told);
        let allowed = answer.headers["access-control-allow-headers"]
            .to_str()
            .unwrap();
        assert_eq!(allowed, "authorization,x-stainless-os");
        assert!(
            answer.headers["access-control-allow-methods"]
                .to_str()
                .unwrap()
                .contains("POST")
        );

        let answer = scene.send(asked(FRIEND, "Bearer sesame")).await;
        assert_eq!(answer.json()["text"], LIGHT);
        assert_eq!(answer.headers["access-control-allow-origin"], told);
        assert_eq!(
            answer.headers["access-control-expose-headers"],
            "retry-after"
        );
        let answer = scene.send(asked(FRIEND, "Bearer wrong")).await;
        answer.error(401);
        assert_eq!(answer.headers["access-control-allow-origin"], told);
    }
}

#[tokio::test]
async fn a_page_that_may_not_is_told_nothing_and_on_loopback_refused() {
    let on_loopback = scene(&[FRIEND], Hosts::default().decided(true));
    for request in [question(STRANGER), asked(STRANGER, "Bearer sesame")] {
        let answer = on_loopback.send(request).await;
        answer.error(403);
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    // Nor may a page whose name was made to mean this machine.
    let mut rebound = asked(FRIEND, "Bearer sesame");
    let host = "voice.example:8000".parse().unwrap();
    rebound.headers_mut().insert("host", host);
    on_loopback.send(rebound).await.error(403);

    let elsewhere = scene(&[FRIEND], Hosts::Any);
    let answer = elsewhere.send(question(STRANGER)).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    let nobody = scene(&[], Hosts::Any);
    let answer = nobody.send(question(FRIEND)).await;
    answer.error(405);
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}
