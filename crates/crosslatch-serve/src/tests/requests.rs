//! What is asked, and what is answered.

use axum::body::Body;
use axum::http::Request;

use super::scene::{LIGHT, Scene, long, post, sample, wav};

#[tokio::test]
async fn each_format_has_the_words() {
    let scene = Scene::open();
    let sound = sample("light.wav");
    for (format, kind, begins) in [
        ("json", "application/json", "{\"text\":\"make the"),
        ("text", "text/plain; charset=utf-8", LIGHT),
        (
            "srt",
            "application/x-subrip; charset=utf-8",
            "1\n00:00:00,000 -->",
        ),
        ("vtt", "text/vtt; charset=utf-8", "WEBVTT\n\n00:00.000 -->"),
        (
            "verbose_json",
            "application/json",
            "{\"task\":\"transcribe\",\"language\":\"en\"",
        ),
    ] {
        let answer = scene
            .transcribe(&sound, &[("response_format", format)])
            .await;
        assert_eq!(answer.status, 200, "{format}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], kind);
        assert!(answer.body.starts_with(begins), "{}", answer.body);
        assert!(answer.body.contains(LIGHT), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_verbose_answer_has_what_clients_read_of_a_segment() {
    let scene = Scene::open();
    let fields = [
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "segment"),
    ];
    let answer = scene.transcribe(&long(2), &fields).await.json();
    assert_eq!(answer["duration"], 12.0);
    let segments = answer["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 2);
    assert_eq!(segments[1]["id"], 1);
    assert_eq!(segments[1]["text"], LIGHT);
    let start = segments[1]["start"].as_f64().unwrap();
    assert!((5.0..7.0).contains(&start), "{answer}");
    assert_eq!(segments[1]["seek"], (start * 100.0) as u64);
    for name in [
        "avg_logprob",
        "compression_ratio",
        "no_speech_prob",
        "end",
        "temperature",
    ] {
        assert!(segments[0][name].is_f64(), "{name} in {answer}");
    }
}

#[tokio::test]
async fn words_have_times_where_they_are_asked_for() {
    let scene = Scene::open();
    for stream in ["false", "true"] {
        let fields = [
            ("response_format", "verbose_json"),
            ("timestamp_granularities[]", "segment"),
            ("timestamp_granularities[]", "word"),
            ("stream", stream),
        ];
        let answer = scene.transcribe(&long(2), &fields).await;
        let answer = match stream {
            "true" => answer.events().pop().unwrap(),
            _ => answer.json(),
        };
        let words = answer["words"].as_array().unwrap();
        let texts: Vec<&str> = words.iter().map(|w| w["word"].as_str().unwrap()).collect();
        assert_eq!(texts.join(" "), answer["text"].as_str().unwrap());
        let mut last = 0.0;
        for word in words {
            let [start, end] = ["start", "end"].map(|name| word[name].as_f64().unwrap());
            assert!(last <= start && start <= end && end <= 12.0, "{answer}");
            last = start;
        }
        assert!(
            words.last().unwrap()["end"].as_f64().unwrap() > 6.0,
            "{answer}"
        );
        assert_eq!(answer["segments"].as_array().unwrap().len(), 2);
    }
    let fields = [("response_format", "verbose_json")];
    let answer = scene.transcribe(&long(1), &fields).await.json();
    assert!(answer.get("words").is_none(), "{answer}");
}

#[tokio::test]
async fn a_stream_has_a_delta_for_each_token_and_the_deltas_are_the_text() {
    let scene = Scene::open();
    let answer = scene.transcribe(&long(3), &[("stream", "true")]).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let mut text = String::new();
    let mut events = answer.events();
    let done = events.pop().unwrap();
    for event in &events {
        assert_eq!(event["type"], "transcript.text.delta");
        text.push_str(event["delta"].as_str().unwrap());
    }
    let words = text.split_whitespace().count();
    assert!(events.len() >= words, "{} {words}", events.len());
    assert_eq!(text, [LIGHT; 3].join(" "));
    assert_eq!(done["type"], "transcript.text.done");
    assert_eq!(done["text"], text);
    assert_eq!(done["usage"]["seconds"], 18.0);
    // Text that may be refused comes when it is known that it is not.
    let fields = [("stream", "true"), ("fallback", "true")];
    let mut events = scene.transcribe(&long(3), &fields).await.events();
    events.pop();
    let deltas = events.iter().map(|event| event["delta"].as_str().unwrap());
    assert_eq!(events.len(), 3);
    assert_eq!(deltas.collect::<String>(), text);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_the_name_of_the_field() {
    let scene = Scene::open();
    let sound = sample("light.wav");
    for (field, value, status, param, words) in [
        (
            "response_format",
            "docx",
            400,
            "response_format",
            "verbose_json and vtt",
        ),
        ("temperature", "1.5", 400, "temperature", "0 to 1"),
        ("temperature", "NaN", 400, "temperature", "0 to 1"),
        ("stream", "perhaps", 400, "stream", "true or false"),
        ("language", "klingon", 400, "language", "it knows en"),
        (
            "model",
            "large",
            404,
            "model",
            "this server has \"demo\", also called \"whisper-1\"",
        ),
        ("skip_silence", "loud", 400, "skip_silence", "true or false"),
        (
            "skip_silence",
            "3",
            400,
            "skip_silence",
            "-120 to 0 decibels",
        ),
        ("skip_silence", "NaN", 400, "skip_silence", "-120 to 0"),
        ("fallback", "perhaps", 400, "fallback", "true or false"),
        (
            "timestamp_granularities[]",
            "letter",
            400,
            "timestamp_granularities",
            "word or segment",
        ),
        (
            "timestamp_granularities[]",
            "word",
            400,
            "timestamp_granularities",
            "verbose_json",
        ),
        (
            "timestamp_granularities[]",
            "segment",
            400,
            "timestamp_granularities",
            "verbose_json",
        ),
        ("include[]", "logprobs", 400, "include[]", "not supported"),
        ("file", "a second one", 400, "file", "one file"),
    ] {
        let answer = scene.transcribe(&sound, &[(field, value)]).await;
        let (given, message) = answer.error(status);
        assert_eq!(given.as_deref(), Some(param), "{message}");
        assert!(message.contains(words), "{message}");
    }
    for format in ["srt", "vtt"] {
        let both = [("stream", "true"), ("response_format", format)];
        let (param, _) = scene.transcribe(&sound, &both).await.error(400);
        assert_eq!(param.as_deref(), Some("response_format"));
    }
    assert_eq!(scene.gate.begun(), 0);
}

#[tokio::test]
async fn what_is_no_sound_is_told_apart() {
    let scene = Scene::open();
    for (sound, status, words) in [
        (
            b"not a sound at all".to_vec(),
            415,
            "is not a sound file that can be read",
        ),
        (wav(&[]), 422, "contains no sound"),
        (sample("light.wav")[..20].to_vec(), 415, "a.wav"),
    ] {
        let answer = scene.transcribe(&sound, &[("stream", "true")]).await;
        let (param, message) = answer.error(status);
        assert_eq!(param.as_deref(), Some("file"));
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_form_or_half_of_one_is_refused() {
    let scene = Scene::open();
    let json = Request::post("/v1/audio/transcriptions").header("content-type", "application/json");
    let answer = scene.send(json.body(Body::from("{}")).unwrap()).await;
    assert!(answer.error(415).1.contains("multipart/form-data"));

    let (head, body) = post(&sample("light.wav"), &[]).into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let half = Request::from_parts(head, Body::from(body.slice(..body.len() / 2)));
    assert!(scene.send(half).await.error(400).1.contains("form"));

    let no_file =
        "--cut\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\ndemo\r\n--cut--\r\n";
    let request = Request::post("/v1/audio/translations")
        .header("content-type", "multipart/form-data; boundary=cut")
        .body(Body::from(no_file))
        .unwrap();
    let (param, _) = scene.send(request).await.error(400);
    assert_eq!(param.as_deref(), Some("file"));
}

#[tokio::test]
async fn every_path_answers_in_its_own_way() {
    let scene = Scene::open();
    assert_eq!(scene.get("/health").await.json()["status"], "ok");
    let models = scene.get("/v1/models").await.json();
    assert_eq!(models["data"][0]["id"], "demo");
    assert_eq!(models["data"][1]["id"], "whisper-1");
    assert_eq!(models["data"].as_array().unwrap().len(), 2);
    for name in ["demo", "whisper-1"] {
        assert_eq!(
            scene.get(&format!("/v1/models/{name}")).await.json()["id"],
            name
        );
    }
    scene.get("/v1/models/large").await.error(404);
    scene.get("/v1/nothing").await.error(404);
    scene.get("/v1/audio/transcriptions").await.error(405);
    let series = "crosslatch_requests_total{path=\"/v1/audio/transcriptions\",status=\"405\"}";
    let metrics = scene.get("/metrics").await.body;
    assert!(metrics.contains(&format!("{series} 1\n")), "{metrics}");
}

#[tokio::test]
async fn a_key_is_asked_for_where_something_is_decoded() {
    let scene = Scene::with(|config| config.api_key = Some("sesame".to_owned()));
    scene.gate.allow(usize::MAX);
    let sound = sample("light.wav");
    for key in [
        None,
        Some("Bearer sesam"),
        Some("Bearer sesame2"),
        Some("sesame"),
    ] {
        let mut request = post(&sound, &[]);
        if let Some(key) = key {
            request
                .headers_mut()
                .insert("authorization", key.parse().unwrap());
        }
        scene.send(request).await.error(401);
    }
    scene.get("/v1/models").await.error(401);
    assert_eq!(scene.get("/health").await.status, 200);
    let mut request = post(&sound, &[]);
    request
        .headers_mut()
        .insert("authorization", "Bearer sesame".parse().unwrap());
    assert_eq!(scene.send(request).await.json()["text"], LIGHT);
}

#[tokio::test]
async fn a_verbose_stream_says_when_each_segment_is_spoken_and_how_much_is_done() {
    let scene = Scene::open();
    let verbose = ("response_format", "verbose_json");
    let answer = scene
        .transcribe(&long(3), &[("stream", "true"), verbose])
        .await;
    let mut events = answer.events();
    let mut whole = scene.transcribe(&long(3), &[verbose]).await.json();
    let mut done = events.pop().unwrap();
    assert_eq!(done["type"], "transcript.text.done");
    done.as_object_mut().unwrap().remove("type");
    assert_eq!(done, whole);

    let of = |kind: &str| {
        let found = events.iter().filter(move |event| event["type"] == kind);
        found.cloned().collect::<Vec<_>>()
    };
    let segments = of("transcript.text.segment");
    assert_eq!(segments.len(), 3);
    for (segment, expected) in segments
        .iter()
        .zip(whole["segments"].as_array_mut().unwrap())
    {
        assert_eq!(segment["id"], expected["id"].to_string());
        for name in ["start", "end", "text"] {
            assert_eq!(segment[name], expected[name], "{name}");
        }
    }
    let deltas = of("transcript.text.delta");
    let text: String = deltas.iter().filter_map(|e| e["delta"].as_str()).collect();
    assert_eq!(text, whole["text"]);
    let seconds: Vec<f64> = of("transcript.progress")
        .iter()
        .map(|event| {
            assert_eq!(event["duration"], 18.0);
            event["seconds"].as_f64().unwrap()
        })
        .collect();
    assert!(seconds.len() >= 3 && seconds.is_sorted(), "{seconds:?}");
    assert_eq!(seconds.last(), Some(&18.0));
}

#[tokio::test]
async fn a_request_decides_about_silence_and_otherwise_the_server_does() {
    let silent = || {
        let mut file = sample("light.wav")[44..].to_vec();
        file.splice(0..0, vec![0; 2 * 16_000 * 9]);
        wav(&file)
    };
    // Nine seconds of silence are a window and a half of the demo model.
    for (default, given, windows) in [
        (None, None, 2),
        (None, Some("false"), 2),
        (None, Some("true"), 1),
        (None, Some("1"), 1),
        (None, Some("-40.5"), 1),
        (None, Some("-120"), 1),
        (Some(-45.0), None, 1),
        (Some(-45.0), Some("true"), 1),
        (Some(-45.0), Some("false"), 2),
        (Some(-45.0), Some("0"), 2),
    ] {
        let scene = Scene::with(|config| config.defaults.skip_silence = default);
        scene.gate.allow(usize::MAX);
        let fields: Vec<_> = given.map(|g| ("skip_silence", g)).into_iter().collect();
        let answer = scene.transcribe(&silent(), &fields).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(scene.gate.begun(), windows, "{default:?} {given:?}");
        if windows == 1 {
            assert_eq!(answer.json()["text"], LIGHT);
        }
    }
}

#[tokio::test]
async fn a_model_may_be_left_out_and_only_names_that_were_given_are_known() {
    let scene = Scene::with(|config| config.aliases = vec!["scribe".to_owned()]);
    scene.gate.allow(usize::MAX);
    for (name, status) in [
        ("demo", 200),
        ("scribe", 200),
        ("whisper-1", 404),
        ("", 404),
    ] {
        let sound = sample("light.wav");
        let answer = scene.transcribe(&sound, &[("model", name)]).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
    }
    let (mut head, body) = post(&sample("light.wav"), &[]).into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let field = b"--cut\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\ndemo\r\n";
    let body = body.strip_prefix(field).unwrap().to_vec();
    head.headers.remove("content-length");
    let answer = scene.send(Request::from_parts(head, body.into())).await;
    assert_eq!(answer.json()["text"], LIGHT);
}

#[tokio::test]
async fn the_page_needs_nothing_but_this_server() {
    let scene = Scene::open();
    let page = scene.get("/").await;
    assert!(page.body.starts_with("<!doctype html>"));
    let mut loaded = vec!["page/tap.js".to_owned()];
    let mut seen = Vec::new();
    let mut texts = vec![page];
    while let Some(file) = texts.pop() {
        let policy = file.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(!file.body.contains("http://") && !file.body.contains("https://"));
        for piece in file.body.split('"') {
            let name = piece.strip_prefix("./").or(piece.strip_prefix("page/"));
            let is_file = |n: &&str| n.ends_with(".js") || n.ends_with(".css");
            if let Some(name) = name.filter(is_file) {
                loaded.push(format!("page/{name}"));
            }
        }
        while let Some(path) = loaded.pop() {
            if !seen.contains(&path) {
                let file = scene.get(&format!("/{path}")).await;
                assert_eq!(file.status, 200, "{path}");
                seen.push(path);
                texts.push(file);
            }
        }
    }
    // The style and every script that lies beside the page.
    assert_eq!(seen.len(), 9, "{seen:?}");
    scene.get("/page/nothing.js").await.error(404);
}
