//! English and Chinese, dark and light, large and small: axe-core finds nothing, and nothing is wider than the screen.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Visit, Ways, opened, refused, text};
use crate::harness::Setup;
use crate::harness::frames::{CLOSE, closing, masked, read};
use crate::harness::services::start;
use crate::harness::upstream::Nobody;
use crate::tools::programs::{Family, package_version};

/// Texts that are the same in both languages: names, codes and units.
fn is_name(text: &str) -> bool {
    let mut letters = text.chars().filter(|letter| letter.is_alphabetic());
    letters.all(char::is_uppercase)
        || text.contains(['/', '_', ':', '"'])
        || ["wsgate", "Origin", "Origins", "User-Agent", "Host"].contains(&text)
}

fn words(seen: &Value) -> HashSet<String> {
    let words = seen["words"].as_array().unwrap().iter();
    words.map(|word| text(word).to_owned()).collect()
}

#[test]
fn it_is_accessible_in_both_languages_and_colours_on_every_screen() {
    let nobody = Nobody::new();
    let setup = Ways::none()
        .and("/down", "down", &nobody.url())
        .before("builtin:echo");
    let proxy = start(&Setup {
        websocket: "subprotocols: [chat]".to_owned(),
        ..setup
    });
    for _ in 0..3 {
        refused(&proxy, "/down", &[]);
    }
    refused(&proxy, "/ws", &[("Origin", "https://evil.example")]);
    let mut client = opened(&proxy, "/ws", &[]);
    client.send(masked(CLOSE, closing(4000, "enough")));
    assert_eq!(read(&mut client).unwrap().0, CLOSE);
    client.rest();
    proxy.event("closed");
    let open = opened(&proxy, "/ws", &[("User-Agent", "a browser")]);
    let mut cases = Vec::new();
    for lang in ["en", "zh"] {
        for dark in [false, true] {
            for phone in [false, true] {
                let (width, height) = if phone { (390, 844) } else { (1280, 800) };
                // With each language, colour and size, records and tunnels are opened in half of the cases.
                let open = (lang == "zh") ^ dark ^ phone;
                cases.push(json!({
                    "name": format!("{lang} dark={dark} phone={phone}"), "run": "look", "open": open, "query": format!("?reason=*&lang={lang}"),
                    "page": { "width": width, "height": height, "phone": phone, "dark": dark },
                }));
            }
        }
    }
    // What the browser asks for counts if nobody has chosen.
    for (name, language) in [("asked zh", "zh-TW,en"), ("asked fr", "fr,de")] {
        cases.push(
            json!({ "name": name, "run": "look", "open": false, "page": { "language": language } }),
        );
    }
    let names: Vec<_> = cases
        .iter()
        .map(|case| text(&case["name"]).to_owned())
        .collect();
    let report = Visit::start(&proxy, json!(cases)).end();
    let seen = |name: &str| report.detail(name).0;
    for name in &names {
        assert_eq!(seen(name)["found"], json!([]), "{name}");
        let is_chinese = name.contains("zh");
        let lang = if is_chinese { "zh-CN" } else { "en" };
        assert_eq!(seen(name)["lang"], lang, "{name}");
    }
    let [light, dark] =
        [false, true].map(|dark| seen(&format!("en dark={dark} phone=false"))["scheme"].clone());
    assert_ne!(light, dark);
    let english = words(&seen("en dark=false phone=false"));
    assert!(english.len() > 60, "{english:?}");
    for case in [
        "zh dark=false phone=false",
        "zh dark=true phone=true",
        "asked zh",
    ] {
        let chinese = words(&seen(case));
        let mut same: Vec<_> = chinese
            .intersection(&english)
            .filter(|word| !is_name(word))
            .collect();
        same.sort();
        assert!(same.is_empty(), "{case}: not translated: {same:?}");
    }
    drop(open);
    proxy.stop();
    let mut family = Family::new(format!(
        "page with axe-core {}",
        package_version("axe-core")
    ));
    family.add(names.len());
    family.finish();
}
