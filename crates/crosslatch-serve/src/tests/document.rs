//! The description of the interface says what is so.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::Value;

use super::scene::{LIGHT, Scene, post, sample};
use crate::form::fields as all_fields;
use crate::live::{MOST_MESSAGE, members};
use crate::router::{about, interface};

async fn document(scene: &Scene) -> Value {
    let answer = scene.get("/openapi.json").await;
    assert_eq!(answer.headers["content-type"], "application/json");
    answer.json()
}

fn fields(document: &Value) -> &serde_json::Map<String, Value> {
    let request = &document["components"]["schemas"]["Request"];
    request["properties"].as_object().unwrap()
}

#[tokio::test]
async fn it_has_each_path_with_its_methods_and_no_other() {
    let scene = Scene::open();
    let document = document(&scene).await;
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    let routed = interface().into_iter().chain(about());
    let routed: BTreeSet<&str> = routed.map(|(path, _)| path).collect();
    assert_eq!(described, routed);
    for (path, methods) in paths {
        let address = path.replace("{name}", "demo");
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            let is_described = methods.get(method.as_str().to_lowercase()).is_some();
            let request = Request::builder().method(&method).uri(&address);
            let answer = scene.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status != 405, is_described, "{method} {path}");
        }
        // What asks for a key in the document asks for one.
        let keyed = path.starts_with("/v1/");
        for (_, operation) in methods.as_object().unwrap() {
            let security = operation["security"].as_array().unwrap();
            assert_eq!(!security.is_empty(), keyed, "{path}");
        }
    }
}

#[tokio::test]
async fn each_field_that_it_names_is_taken_with_each_value_and_there_is_no_other() {
    let scene = Scene::open();
    let document = document(&scene).await;
    let described: BTreeSet<&str> = fields(&document).keys().map(String::as_str).collect();
    assert_eq!(described, BTreeSet::from_iter(all_fields()));
    let sound = sample("light.wav");
    for (name, schema) in fields(&document) {
        let mut values: Vec<String> = Vec::new();
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        for schema in [schema, &schema["items"]] {
            for list in ["enum", "examples"] {
                values.extend(schema[list].as_array().into_iter().flatten().map(text));
            }
            for bound in ["minimum", "maximum", "default"] {
                values.extend(schema.get(bound).map(text));
            }
            let kinds = match &schema["type"] {
                Value::Array(kinds) => kinds.clone(),
                kind => vec![kind.clone()],
            };
            if kinds.contains(&"boolean".into()) {
                values.extend(["true", "false"].map(str::to_owned));
            }
        }
        if name == "file" {
            continue;
        }
        assert!(!values.is_empty(), "{name} has no example");
        for value in values {
            let verbose = ("response_format", "verbose_json");
            let needs = (name == "timestamp_granularities[]").then_some(verbose);
            let given = [(name.as_str(), value.as_str())].into_iter().chain(needs);
            let request = post(&sound, &given.collect::<Vec<_>>());
            let answer = scene.send(request).await;
            assert_eq!(answer.status, 200, "{name}={value}: {}", answer.body);
        }
    }
    let schema = &fields(&document)["prompt"]["maxLength"];
    let longest = usize::try_from(schema.as_u64().unwrap()).unwrap();
    let prompt = "x".repeat(longest + 1);
    let answer = scene.transcribe(&sound, &[("prompt", &prompt)]).await;
    answer.error(400);
}

#[tokio::test]
async fn a_live_sound_starts_with_the_members_that_it_names() {
    let document = document(&Scene::open()).await;
    let start = &document["components"]["schemas"]["Start"]["properties"];
    let described = start.as_object().unwrap().keys().map(String::as_str);
    let described: BTreeSet<&str> = described.collect();
    assert_eq!(described, BTreeSet::from_iter(members()));
    let longest = &fields(&document)["prompt"]["maxLength"];
    assert!(longest.as_u64().unwrap() < MOST_MESSAGE as u64);
}

#[tokio::test]
async fn answers_have_the_members_that_it_names() {
    let scene = Scene::open();
    let document = document(&scene).await;
    let sound = sample("light.wav");
    let schema = |name: &str| &document["components"]["schemas"][name];
    let has_members = |value: &Value, schema: &Value| {
        let given: BTreeSet<&String> = value.as_object().unwrap().keys().collect();
        let named = schema["properties"].as_object().unwrap();
        assert!(given.is_subset(&named.keys().collect()), "{given:?}");
        for required in schema["required"].as_array().unwrap() {
            assert!(
                value.get(required.as_str().unwrap()).is_some(),
                "{required}"
            );
        }
    };
    let answer = scene.transcribe(&sound, &[]).await.json();
    assert_eq!(answer["text"], LIGHT);
    has_members(&answer, schema("Text"));
    let verbose = [
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "segment"),
        ("timestamp_granularities[]", "word"),
    ];
    let answer = scene.transcribe(&sound, &verbose).await.json();
    has_members(&answer, schema("Verbose"));
    has_members(&answer["segments"][0], schema("Segment"));
    let words = &schema("Verbose")["properties"]["words"];
    has_members(&answer["words"][0], &words["items"]);
    let models = scene.get("/v1/models").await.json();
    has_members(&models, schema("Models"));
    has_members(&models["data"][0], schema("Model"));
    for part in ["defaults", "limits"] {
        has_members(
            &models["data"][0][part],
            &schema("Model")["properties"][part],
        );
    }
    let error = scene.get("/v1/models/large").await.json();
    has_members(&error, schema("Error"));
    has_members(&error["error"], &schema("Error")["properties"]["error"]);

    let streamed = [("response_format", "verbose_json"), ("stream", "true")];
    let events = scene.transcribe(&sound, &streamed).await.events();
    let kinds = schema("Event")["oneOf"].as_array().unwrap();
    for event in events {
        let is_it = |kind: &&Value| kind["properties"]["type"]["const"] == event["type"];
        let kind = kinds.iter().find(is_it).unwrap();
        for required in kind["required"].as_array().unwrap() {
            assert!(event.get(required.as_str().unwrap()).is_some(), "{event}");
        }
    }
}

#[tokio::test]
async fn what_it_refers_to_is_in_it() {
    let document = document(&Scene::open()).await;
    let mut rest = vec![&document];
    let mut count = 0;
    while let Some(value) = rest.pop() {
        match value {
            Value::Object(members) => rest.extend(members.values()),
            Value::Array(items) => rest.extend(items),
            _ => {}
        }
        if let Some(Value::String(target)) = value.get("$ref") {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target}");
            count += 1;
        }
    }
    assert!(count > 10);
}
