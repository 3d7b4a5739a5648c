//! What becomes of words of many languages, on both sides.

use super::*;

fn document(code: &str, text: &str) -> Vec<String> {
    let language = Language::by_code(code).unwrap();
    let marked = Analysis::Multilingual.marked(text, language);
    places(&mut Analysis::Multilingual.analyzer(), &marked).into_values().collect()
}

fn query(codes: &[&str], text: &str) -> Vec<String> {
    let languages: Vec<Language> = codes.iter().map(|code| Language::by_code(code).unwrap()).collect();
    let words = Analysis::Multilingual.query(text, &languages);
    words.into_iter().map(|word| word.forms.join("|")).collect()
}

#[test]
fn words_are_stemmed_in_the_way_of_their_language() {
    for (code, text, words) in [
        ("en", "The routers are resetting; don't run max_tokens=3.5", "router reset don t run max token 3 5"),
        ("de", "Die Häuser der Größe", "haus gross"),
        ("es", "los jugadores anotaron", "jugador anot"),
        ("und", "Zażółć gęślą jaźń", "zażółć gęślą jaźń"),
        ("en", "ＡＢＣ ﬁle Caf\u{65}\u{301}", "abc file café"),
    ] {
        assert_eq!(document(code, text).join(" "), words, "{text}");
    }
}

#[test]
fn scripts_without_spaces_become_pairs_and_a_last_letter() {
    assert_eq!(document("en", "東京は2024年、iPhone手机").join(" "), "東京 京は は 2024 年 iphon 手机 机");
    assert_eq!(document("en", "서울에서 kg").join(" "), "서울 울에 에서 서 kg");
    assert_eq!(document("en", "ภาษา").join(" "), "ภา าษ ษา า");
    assert_eq!(document("en", "ｶﾞ").join(" "), "ガ");
    assert_eq!(query(&["en"], "東京は"), ["東京", "京は"]);
    assert_eq!(query(&["en"], "水"), ["水"]);
}

#[test]
fn marks_stay_with_their_letters() {
    assert_eq!(document("und", "हिन्दी भाषा"), ["हिन्दी", "भाषा"]);
}

#[test]
fn a_query_takes_the_forms_of_every_language_of_the_collection() {
    assert_eq!(query(&["en"], "the houses"), ["hous"]);
    assert_eq!(
        query(&["en", "de"], "the running"),
        ["run|running"],
        "English is recognised, so \"the\" is dropped"
    );
    assert_eq!(query(&["en", "de"], "wie groß sind die Häuser"), ["groß|gross", "häuser|haus"]);
    assert_eq!(query(&["en"], "house houses house"), ["hous"]);
    assert!(query(&["en", "de"], "the of and").is_empty());
    assert!(query(&[], "anything").is_empty());
}

#[test]
fn languages_are_recognised_and_short_chunks_go_with_their_document() {
    let codes = |texts: &[&str]| -> Vec<&str> {
        languages_of(texts.iter().copied()).into_iter().map(Language::code).collect()
    };
    let german = "Die Katze sitzt auf dem Dach und schaut den Vögeln zu, die im Garten nach Futter suchen.";
    let spanish = "El gato está sentado en el tejado y mira los pájaros que buscan comida en el jardín.";
    let english = "The cat sits on the roof and watches the birds that look for food in the garden.";
    let polish = "Kot siedzi na dachu i patrzy na ptaki, które szukają jedzenia w ogrodzie za domem.";
    let chinese = "猫坐在屋顶上，看着花园里寻找食物的鸟儿。";
    assert_eq!(codes(&[german, "Tabelle 3"]), ["de", "de"]);
    assert_eq!(codes(&[german, english, spanish]), ["de", "en", "es"]);
    assert_eq!(codes(&[polish, chinese, "x = 1"]), ["und", "en", "und"]);
    assert_eq!(codes(&["fn main() {}"]), ["en"]);
    assert!(codes(&[]).is_empty());
}

#[test]
fn format_1_stays_as_it_was() {
    let words = Analysis::EnglishOnly.query("Größe 東京 of routers", &[]);
    let forms: Vec<String> = words.into_iter().flat_map(|word| word.forms).collect();
    assert_eq!(forms, ["größe", "東京", "router"]);
}
